// A workflow as it was looked at, brought up to date by what its event stream tells. Pure.
import type { Shape } from "../../api/client";

export type Detail = Shape["WorkflowDetail"];
export type Task = Shape["TaskShape"];
export type Event = Shape["EventRecord"];

const ENDED = new Set<string>(["succeeded", "failed", "cancelled"]);

/** Whether an event came after another: ids are `<ms>-<n>`. */
function after(id: string, other: string): boolean {
  const [ms = 0, n = 0] = id.split("-").map(Number);
  const [otherMs = 0, otherN = 0] = other.split("-").map(Number);
  return ms > otherMs || (ms === otherMs && n > otherN);
}

/** What the detail shows already isn't done again: it may have been looked at while events were on their way. */
export function fold(detail: Detail, given: Event[]): Detail {
  const events = given.filter((event) => after(event.id, detail.last_event_id));
  const tasks = new Map(detail.tasks.map((task) => [task.id, task]));
  let state = detail.state;
  let finished_ms = detail.finished_ms;
  for (const event of events) {
    if (event.workflow_state) {
      state = event.workflow_state as Detail["state"];
      finished_ms = ENDED.has(state) ? event.at_ms : 0;
    }
    for (const change of event.tasks) tasks.set(change.id, changed(tasks.get(change.id), change, event));
  }
  const all = [...tasks.values()];
  const last_event_id = events.at(-1)?.id ?? detail.last_event_id;
  return { ...detail, state, finished_ms, last_event_id, tasks: all, counts: countStates(all, detail), progress: progressOf(all, state) };
}

function changed(task: Task | undefined, change: Event["tasks"][number], event: Event): Task {
  const before = task ?? blank(change, event);
  if (change.progress != null) return { ...before, progress: change.progress, note: change.note ?? "" };
  const begins = change.state === "running" && before.state !== "running";
  const ended = ENDED.has(change.state);
  return {
    ...before,
    state: change.state,
    attempt: change.attempt || before.attempt,
    agent_id: change.agent_id || before.agent_id,
    started_ms: begins ? event.at_ms : before.started_ms,
    finished_ms: ended ? event.at_ms : 0,
    seconds: ended && before.started_ms ? (event.at_ms - before.started_ms) / 1000 : before.seconds,
    progress: change.state === "succeeded" ? 1 : before.progress,
    failure: change.error ? { code: "", message: change.error } : ended ? before.failure : null,
  };
}

/** A task that came to be: its needs are known when the workflow is looked at again. */
const blank = (change: Event["tasks"][number], event: Event): Task => ({
  id: change.id,
  state: change.state,
  capability: change.capability ?? "",
  key: change.key ?? "",
  title: change.title ?? "",
  layer: change.layer ?? "",
  workflow_id: event.workflow_id ?? "",
  parent_id: change.parent_id ?? "",
  needs: [],
  attempt: 0,
  failures: 0,
  agent_id: "",
  host_id: event.host_id ?? "",
  priority: 1,
  progress: 0,
  note: "",
  created_ms: event.at_ms,
  started_ms: 0,
  finished_ms: 0,
  seconds: 0,
  failure: null,
});

function countStates(tasks: Task[], detail: Detail): Detail["counts"] {
  if (detail.tasks_left_out) return detail.counts;
  const counts: Detail["counts"] = {};
  for (const task of tasks) counts[task.state] = (counts[task.state] ?? 0) + 1;
  return counts;
}

function progressOf(tasks: Task[], state: string): number {
  if (state === "succeeded") return 1;
  const done = tasks.reduce((sum, task) => sum + (ENDED.has(task.state) ? 1 : task.state === "running" ? task.progress : 0), 0);
  return done / Math.max(1, tasks.length);
}

export interface Row {
  task: Task;
  depth: number;
}

/** The hierarchy, each task below the one that spawned it, in the order in which they came. */
export function tree(tasks: Task[]): Row[] {
  const children = new Map<string, Task[]>();
  const ids = new Set(tasks.map((task) => task.id));
  for (const task of tasks) {
    const parent = ids.has(task.parent_id) ? task.parent_id : "";
    const siblings = children.get(parent);
    if (siblings) siblings.push(task);
    else children.set(parent, [task]);
  }
  const rows: Row[] = [];
  const open = (children.get("") ?? []).map((task) => ({ task, depth: 0 })).reverse();
  for (let row = open.pop(); row; row = open.pop()) {
    rows.push(row);
    const { depth, task } = row;
    for (const child of (children.get(task.id) ?? []).toReversed()) open.push({ task: child, depth: depth + 1 });
  }
  return rows;
}
