// What needs what, laid out by dagre from left to right and shown by React Flow: move, zoom, and every node by Tab.
import { graphlib, layout } from "@dagrejs/dagre";
import { useNavigate } from "@tanstack/react-router";
import { Background, Controls, type Edge, type Node, Position, ReactFlow, useNodesInitialized, useReactFlow } from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { useEffect, useMemo } from "react";
import { useTheme } from "../../lib/theme";
import { State } from "../../parts/State";
import type { Task } from "./fold";
import styles from "./goals.module.css";

const WIDTH = 220;
const HEIGHT = 52;
/** Of more than so many tasks a graph shows nothing; the hierarchy does. */
const NODES_MAX = 600;

export default function Graph({ tasks }: { tasks: Task[] }) {
  const navigate = useNavigate();
  const theme = useTheme();
  const edges = useMemo(() => edgesOf(tasks), [tasks]);
  const links = edges.map((edge) => edge.id).join(" ");
  const ids = tasks.map((task) => task.id).join(" ");
  const places = useMemo(() => (tasks.length <= NODES_MAX ? layOut(tasks, edges) : null), [ids, links]);
  const nodes = useMemo(() => places && tasks.map((task) => nodeOf(task, places)), [tasks, places]);
  if (!nodes) return <p className="note">These are {tasks.length} tasks; a graph shows {NODES_MAX} at most. The hierarchy has all of them.</p>;
  return (
    <div className={`panel ${styles.graph}`}>
      <ReactFlow
        nodes={nodes}
        edges={edges}
        colorMode={theme}
        minZoom={0.1}
        nodesDraggable={false}
        nodesConnectable={false}
        edgesFocusable={false}
        onNodeClick={(_, node) => void navigate({ to: "/tasks/$id", params: { id: node.id } })}
      >
        <Background />
        <Controls showInteractive={false} />
        <Fitted to={nodes.length} />
      </ReactFlow>
    </div>
  );
}

/** Shows the whole graph again whenever tasks came. */
function Fitted({ to }: { to: number }) {
  const { fitView } = useReactFlow();
  const measured = useNodesInitialized();
  useEffect(() => {
    if (measured) void fitView();
  }, [fitView, measured, to]);
  return null;
}

/** A line from what is needed to what needs it, and a dashed one from who spawned a task to it. */
function edgesOf(tasks: Task[]): Edge[] {
  const ids = new Set(tasks.map((task) => task.id));
  return tasks.flatMap((task) => [
    ...task.needs.filter((need) => ids.has(need)).map((need) => ({ id: `${need}>${task.id}`, source: need, target: task.id })),
    ...(ids.has(task.parent_id) ? [{ id: `${task.parent_id}/${task.id}`, source: task.parent_id, target: task.id, className: styles.spawned }] : []),
  ]);
}

function layOut(tasks: Task[], edges: Edge[]): graphlib.Graph {
  const graph = new graphlib.Graph().setGraph({ rankdir: "LR", nodesep: 14, ranksep: 60 }).setDefaultEdgeLabel(() => ({}));
  for (const task of tasks) graph.setNode(task.id, { width: WIDTH, height: HEIGHT });
  for (const edge of edges) graph.setEdge(edge.source, edge.target);
  layout(graph);
  return graph;
}

function nodeOf(task: Task, places: graphlib.Graph): Node {
  const { x, y } = places.node(task.id) as { x: number; y: number };
  const name = task.title || task.key || task.capability;
  return {
    id: task.id,
    position: { x: x - WIDTH / 2, y: y - HEIGHT / 2 },
    width: WIDTH,
    height: HEIGHT,
    sourcePosition: Position.Right,
    targetPosition: Position.Left,
    className: styles.node,
    ariaLabel: `${name}, ${task.state}`,
    data: {
      label: (
        <>
          <span className={styles.name}>{name}</span>
          <State of={task.state} />
        </>
      ),
    },
  };
}
