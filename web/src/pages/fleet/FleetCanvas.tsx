// The canvas with what lies over it: labels of families and pools, the mark of the agent under the pointer or the keys.
import { type KeyboardEvent, memo, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { count } from "../../lib/format";
import { useTheme } from "../../lib/theme";
import { ToAgent } from "../../parts/To";
import { agentAt, type FleetMap, hit, lay, type Layout, type Pool, spot, STATUSES, step } from "./map";
import styles from "./fleet.module.css";
import { Painter } from "./paint";

const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

export interface Place {
  /** An agent's place among all; -1 for none. */
  at: number;
  /** Whether a pointer is on it, so that it is in sight. */
  pointed: boolean;
}

export const NOWHERE: Place = { at: -1, pointed: false };

interface Props {
  map: FleetMap;
  /** Pools whose name, title or family has these letters stand out. */
  search: string;
  /** The agent that the search names; -1 for none. */
  found: number;
  place: Place;
  setPlace: (place: Place) => void;
  open: (agent: string) => void;
}

export function FleetCanvas({ map, search, found, place: { at, pointed }, setPlace, open }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter>(null);
  const width = useWidth(frame);
  const theme = useTheme();
  const layout = useMemo(() => (width ? lay(map.pools, width, window.innerHeight - 200) : null), [map.pools, width]);
  const marked = found >= 0 ? found : at;

  useLayoutEffect(() => {
    painter.current = layout && canvas.current ? new Painter(canvas.current, layout, width) : null;
  }, [layout, theme, width]);
  useLayoutEffect(() => void painter.current?.paint(map), [map, layout, theme]);

  function press(event: KeyboardEvent) {
    if (event.key === "Enter" && marked >= 0) open(agentAt(map.pools, marked)!);
    if (!KEYS.includes(event.key) || !layout) return;
    event.preventDefault();
    setPlace({ at: step(layout, marked, event.key), pointed: false });
  }

  const under = (event: React.PointerEvent | React.MouseEvent) => (layout ? hit(layout, event.nativeEvent.offsetX, event.nativeEvent.offsetY) : -1);

  function point(event: React.PointerEvent) {
    const here = under(event);
    if (here !== at) setPlace({ at: here, pointed: true });
  }

  return (
    <>
      <p className={styles.reading} aria-live="polite">
        {marked >= 0 ? (
          <Described map={map} at={marked} />
        ) : (
          "Point at a dot, use the arrow keys on the map, or choose a status for its next agent; Enter opens the agent."
        )}
      </p>
      <div
        ref={frame}
        className={styles.frame}
        role="application"
        aria-label={`Map of ${count(map.codes.length)} agents. Arrows move, Page Up and Page Down change the pool, Enter opens.`}
        tabIndex={0}
        onKeyDown={press}
      >
        <canvas
          ref={canvas}
          className={styles.canvas}
          style={{ width, height: layout?.height }}
          onPointerMove={point}
          onClick={(event) => {
            const id = agentAt(map.pools, under(event));
            if (id) open(id);
          }}
        />
        {layout && <Labels layout={layout} search={search} />}
        {layout && <Mark layout={layout} at={marked} follow={!pointed || found >= 0} />}
      </div>
    </>
  );
}

function Described({ map: { pools, codes }, at }: { map: FleetMap; at: number }) {
  const pool = pools.find((one) => at >= one.from && at < one.from + one.agents);
  return (
    <>
      <ToAgent id={agentAt(pools, at) ?? ""} />, {STATUSES[codes[at]!]}: {pool?.title || pool?.name}
    </>
  );
}

const matches = (pool: Pool, search: string) => [pool.name, pool.title, pool.family].some((text) => text.toLowerCase().includes(search));

/** They are up to a hundred elements, which a pointer on its way over the map leaves as they are. */
const Labels = memo(function Labels({ layout, search }: { layout: Layout; search: string }) {
  const dim = search !== "" && layout.blocks.some(({ pool }) => matches(pool, search));
  return (
    <>
      {layout.sections.map(({ family, agents, y }) => (
        <h2 key={family} className={styles.family} style={{ top: y }}>
          {family} <span className="note">{count(agents)}</span>
        </h2>
      ))}
      {layout.blocks.map(({ pool, x, y, width }) => (
        <span
          key={pool.name}
          className={dim && matches(pool, search) ? styles.found : styles.pool}
          style={{ left: x, top: y, maxWidth: width }}
          title={`${pool.title || pool.name}: ${count(pool.agents)} agents`}
        >
          {pool.name} {count(pool.agents)}
        </span>
      ))}
    </>
  );
});

/** Where one goes by keys or by name, the window follows; to a pointer it comes of itself. */
function Mark({ layout, at, follow }: { layout: Layout; at: number; follow: boolean }) {
  const element = useRef<HTMLDivElement>(null);
  const place = spot(layout, at);
  useEffect(() => {
    if (follow) element.current?.scrollIntoView({ block: "nearest" });
  }, [at, follow]);
  if (!place) return null;
  const size = layout.cell + 4;
  return <div ref={element} className={styles.mark} style={{ transform: `translate(${place.x - 2}px, ${place.y - 2}px)`, width: size, height: size }} />;
}

function useWidth(frame: React.RefObject<HTMLDivElement | null>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = frame.current!;
    const sized = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)));
    sized.observe(element);
    return () => sized.disconnect();
  }, [frame]);
  return width;
}
