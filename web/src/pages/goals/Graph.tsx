// What needs what, laid out by dagre from left to right and shown by React Flow: move, zoom, and every node by Tab.
import { graphlib, layout } from "@dagrejs/dagre";
import { Background, Controls, type Edge, MarkerType, type Node, Position, ReactFlow } from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { type ReactNode, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { useTheme } from "../../lib/theme";
import { State } from "../../parts/State";
import { taskAt } from "../../parts/To";
import { type Bundle, bundled, gravest, told } from "./bundle";
import type { Task } from "./fold";
import styles from "./goals.module.css";

const WIDTH = 200;
const HEIGHT = 52;
/** Around a graph, with room for the controls beside a small one. */
const MARGIN = 80;
const TALL_MIN = 220;
/** Smaller at first it couldn't be read: where all of it doesn't fit, its middle is shown, to be moved. */
const ZOOM_MIN = 0.6;
/** Of more than so many tasks a graph shows nothing; the hierarchy does. */
const NODES_MAX = 600;

export default function Graph({ tasks }: { tasks: Task[] }) {
  const [, navigate] = useLocation();
  const theme = useTheme();
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const { shown, bundles } = useMemo(() => bundled(tasks, open), [tasks, open]);
  const edges = useMemo(() => edgesOf(shown, bundles), [shown, bundles]);
  const ids = [...shown.map((task) => task.id), ...bundles.map(nameOf)];
  const links = edges.map((edge) => edge.id).join(" ");
  const places = useMemo(() => (ids.length <= NODES_MAX ? layOut(ids, edges) : null), [ids.join(" "), links]);
  const nodes = useMemo(
    () => places && [...shown.map((task) => nodeOf(task, places)), ...bundles.map((bundle) => nodeOfMany(bundle, places))],
    [shown, bundles, places],
  );
  if (!nodes || !places) return <p className="note">These are {tasks.length} tasks; a graph shows {NODES_MAX} at most. The hierarchy has all of them.</p>;
  const follow = (id: string) => {
    const bundle = bundles.find((each) => nameOf(each) === id);
    if (bundle) setOpen(new Set([...open, bundle.parent]));
    else navigate(taskAt(id));
  };
  return (
    <div className={`panel ${styles.graph}`} style={{ height: `min(70vh, ${tall(places)}px)` }}>
      <ReactFlow
        key={`${ids.length} ${edges.length}`} // laid out anew, it is shown whole again
        fitView
        fitViewOptions={{ minZoom: ZOOM_MIN, maxZoom: 1, padding: 0.05 }}
        nodes={nodes}
        edges={edges}
        colorMode={theme}
        minZoom={0.1}
        nodesDraggable={false}
        nodesConnectable={false}
        edgesFocusable={false}
        onNodeClick={(_, node) => follow(node.id)}
      >
        <Background />
        <Controls showInteractive={false} />
      </ReactFlow>
    </div>
  );
}

const tall = (places: graphlib.Graph) => Math.max(TALL_MIN, Math.ceil(places.graph().height ?? 0) + MARGIN);

const nameOf = (bundle: Bundle) => `${bundle.parent}/*`;

const ARROW = { type: MarkerType.ArrowClosed, width: 14, height: 14, color: "var(--dim)" };

/**
 * A line from what is needed to what needs it, and a dashed one from who spawned a task, or many, to it; of a task that needs another
 * of the same parent, that one's line says it already.
 */
function edgesOf(tasks: Task[], bundles: Bundle[]): Edge[] {
  const parents = new Map(tasks.map((task) => [task.id, task.parent_id]));
  const spawned = (parent: string, id: string) => ({ id: `${parent}/${id}`, source: parent, target: id, className: styles.spawned, markerEnd: ARROW });
  return [
    ...tasks.flatMap((task) => {
      const needs = task.needs.filter((need) => parents.has(need));
      const led = needs.some((need) => parents.get(need) === task.parent_id);
      return [
        ...needs.map((need) => ({ id: `${need}>${task.id}`, source: need, target: task.id, markerEnd: ARROW })),
        ...(parents.has(task.parent_id) && !led ? [spawned(task.parent_id, task.id)] : []),
      ];
    }),
    ...bundles.map((bundle) => spawned(bundle.parent, nameOf(bundle))),
  ];
}

function layOut(ids: string[], edges: Edge[]): graphlib.Graph {
  const graph = new graphlib.Graph().setGraph({ rankdir: "LR", nodesep: 14, ranksep: 44 }).setDefaultEdgeLabel(() => ({}));
  for (const id of ids) graph.setNode(id, { width: WIDTH, height: HEIGHT });
  for (const edge of edges) graph.setEdge(edge.source, edge.target);
  layout(graph);
  return graph;
}

const nodeOf = (task: Task, places: graphlib.Graph) =>
  node(task.id, places, task.title || task.key || task.capability, <State of={task.state} />, task.state);

const nodeOfMany = (bundle: Bundle, places: graphlib.Graph) =>
  node(nameOf(bundle), places, `${bundle.tasks.length} tasks side by side`, told(bundle), `${told(bundle)}; opens them`, gravest(bundle));

function node(id: string, places: graphlib.Graph, name: string, state: ReactNode, said: string, edge = said): Node {
  const { x, y } = places.node(id) as { x: number; y: number };
  return {
    id,
    position: { x: x - WIDTH / 2, y: y - HEIGHT / 2 },
    width: WIDTH,
    height: HEIGHT,
    sourcePosition: Position.Right,
    targetPosition: Position.Left,
    className: `${styles.node} state-${edge}`,
    ariaLabel: `${name}, ${said}`,
    data: {
      label: (
        <>
          <span className={styles.name}>{name}</span>
          <span className={styles.name}>{state}</span>
        </>
      ),
    },
  };
}
