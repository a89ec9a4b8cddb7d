import { describe, expect, it } from "vitest";
import { type Detail, type Event, fold, type Task, tree } from "./fold";

const task = (id: string, parent_id = "") => ({ id, parent_id, state: "queued", progress: 0, attempt: 0 }) as Task;
const DETAIL = { state: "running", last_event_id: "9-0", finished_ms: 0, tasks: [task("a")], tasks_left_out: 0 } as unknown as Detail;
const event = (id: string, ...tasks: object[]) => ({ id, kind: "", at_ms: Number(id.split("-")[0]) * 1000, tasks }) as unknown as Event;

describe("a workflow that is followed", () => {
  it("is what it was and what happened since", () => {
    const events = [
      event("10-0", { id: "a", state: "running", attempt: 1, agent_id: "lead-1" }),
      event("10-1", { id: "b", state: "queued", parent_id: "a", title: "second" }),
      event("12-0", { id: "a", state: "running", progress: 0.5, note: "half" }),
    ];
    const now = fold(DETAIL, events);
    expect(now.tasks.map(({ id, state, progress, agent_id }) => [id, state, progress, agent_id])).toEqual([
      ["a", "running", 0.5, "lead-1"],
      ["b", "queued", 0, ""],
    ]);
    expect([now.counts, now.progress, now.last_event_id]).toEqual([{ running: 1, queued: 1 }, 0.25, "12-0"]);
    const ended = fold(now, [{ ...event("13-0", { id: "a", state: "succeeded" }), workflow_state: "succeeded" } as Event]);
    expect([ended.state, ended.finished_ms, ended.progress, ended.tasks[0]!.seconds]).toEqual(["succeeded", 13_000, 1, 3]);
  });

  it("doesn't go back to what it has seen, however late it is told", () => {
    const seen = { ...DETAIL, last_event_id: "10-2", tasks: [{ ...task("a"), state: "succeeded" }] } as Detail;
    const now = fold(seen, [event("9-9", { id: "a", state: "queued" }), event("10-2", { id: "a", state: "running" })]);
    expect([now.tasks[0]!.state, now.last_event_id]).toEqual(["succeeded", "10-2"]);
  });

  it("shows each task below who spawned it, and one whose parent isn't there at the top", () => {
    const rows = tree([task("a"), task("b"), task("a1", "a"), task("x", "gone"), task("a11", "a1"), task("a2", "a")]);
    expect(rows.map(({ task: { id }, depth }) => `${depth}${id}`)).toEqual(["0a", "1a1", "2a11", "1a2", "0b", "0x"]);
  });
});
