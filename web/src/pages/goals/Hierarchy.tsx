// The tree of a workflow's tasks; only the rows in sight exist, so that thousands scroll as well as ten.
import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef } from "react";
import { seconds } from "../../lib/format";
import { State } from "../../parts/State";
import { ToTask } from "../../parts/To";
import { type Row, type Task, tree } from "./fold";
import styles from "./goals.module.css";

const ROW_PX = 30;
const DEPTH_MAX = 8;

export function Hierarchy({ tasks }: { tasks: Task[] }) {
  const rows = useMemo(() => tree(tasks), [tasks]);
  const frame = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => frame.current, estimateSize: () => ROW_PX, overscan: 10 });
  return (
    <div ref={frame} className={`panel ${styles.tree}`} role="region" tabIndex={0} aria-label="Hierarchy of tasks">
      <ol style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map(({ index, start }) => {
          const row = rows[index]!;
          return <Line key={row.task.id} row={row} top={start} />;
        })}
      </ol>
    </div>
  );
}

function Line({ row: { task, depth }, top }: { row: Row; top: number }) {
  const note = task.failure?.message || (task.state === "running" ? task.note : "");
  return (
    <li className={styles.line} style={{ top, paddingInlineStart: `${Math.min(depth, DEPTH_MAX) * 20}px` }} aria-level={depth + 1}>
      <State of={task.state} />
      <ToTask id={task.id} title={task.capability}>
        {task.title || task.key || task.capability}
      </ToTask>
      <span className="note">
        {[task.agent_id, task.started_ms ? seconds(task.seconds) : "", note].filter(Boolean).join(" · ")}
      </span>
    </li>
  );
}
