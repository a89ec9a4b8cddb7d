// What a graph shows as one: the many sub-tasks of one task that stand side by side and that nothing else needs. Pure.
import type { Task } from "./fold";

export interface Bundle {
  /** The task that spawned them. */
  parent: string;
  tasks: Task[];
}

/** Fewer are shown one by one. */
const MANY = 6;

/** Split tasks into those that are shown and those that are bundled; parents in `open` have theirs shown. */
export function bundled(tasks: Task[], open: ReadonlySet<string>): { shown: Task[]; bundles: Bundle[] } {
  const ids = new Set(tasks.map((task) => task.id));
  const wanted = new Set(tasks.flatMap((task) => [task.parent_id, ...task.needs]));
  const side = new Map<string, Task[]>();
  for (const task of tasks) {
    if (!ids.has(task.parent_id) || open.has(task.parent_id) || task.needs.length || wanted.has(task.id)) continue;
    side.set(task.parent_id, [...(side.get(task.parent_id) ?? []), task]);
  }
  const bundles = [...side].filter(([, found]) => found.length >= MANY).map(([parent, found]) => ({ parent, tasks: found }));
  const hidden = new Set(bundles.flatMap((bundle) => bundle.tasks.map((task) => task.id)));
  return { shown: tasks.filter((task) => !hidden.has(task.id)), bundles };
}

const GRAVEST = ["failed", "running", "queued", "delayed", "waiting", "cancelled"];

/** The state that says most of them: what failed or is at work before what is done. */
export const gravest = (bundle: Bundle): string => GRAVEST.find((state) => bundle.tasks.some((task) => task.state === state)) ?? "succeeded";

/** How many of them are in which state: "20 succeeded, 3 running". */
export function told(bundle: Bundle): string {
  const counts = new Map<string, number>();
  for (const { state } of bundle.tasks) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
}
