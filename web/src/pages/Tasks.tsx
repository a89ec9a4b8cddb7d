import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { useLocation, useSearchParams } from "wouter";
import { answer, api, type Refused } from "../api/client";
import { isId, madeAt, upTo } from "../lib/made";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { BEFORE, Pager, usePage } from "../parts/Pager";
import { TaskTable } from "../parts/TaskTable";
import { Title } from "../parts/Title";
import { goalAt, taskAt, ToGoal } from "../parts/To";

const EVERY_MS = 3_000;
const ROWS = 50;
const MINUTE_MS = 60_000;
const STATES = ["running", "queued", "waiting", "delayed", "succeeded", "failed", "cancelled"] as const;

/** All tasks, newest first, or those in a state, of an agent or a goal, made up to some time: the address names all of it. */
export function Tasks() {
  const [search, setSearch] = useSearchParams();
  const state = STATES.find((one) => one === search.get("state"));
  const [agent, goal] = [search.get("agent") ?? "", search.get("goal") ?? ""];
  const { found, error, place } = usePage({
    key: ["tasks", "in", state, agent, goal],
    look: (cursor) =>
      answer(api.GET("/api/tasks", { params: { query: { state, agent_id: agent, workflow_id: goal, limit: ROWS, cursor } } })),
    everyMs: EVERY_MS,
  });
  /** What another choice leaves of the one before: all but the page. */
  function choose(chosen: Record<string, string | undefined>) {
    const all = { state, agent, goal, ...chosen };
    setSearch(Object.entries(all).filter((one): one is [string, string] => !!one[1]), { replace: true });
  }
  const none = state || agent || goal || place.at ? "There are none such." : "None yet: amas submit, a goal or a program makes some.";
  return (
    <section>
      <Title>Tasks</Title>
      <Find agent={agent} of={(id) => choose({ agent: id, goal: "" })} until={madeAt(place.at)} go={(ms) => choose({ [BEFORE]: ms ? upTo(ms) : "" })} />
      <div className="row heading" role="group" aria-label="In which state">
        {([undefined, ...STATES] as const).map((one) => (
          <button key={one ?? "all"} type="button" className="quiet" aria-pressed={one === state} onClick={() => choose({ state: one })}>
            {one ?? "all"}
          </button>
        ))}
      </div>
      {goal && (
        <p className="row">
          <span>
            Of <ToGoal id={goal}>one goal</ToGoal> alone
          </span>
          <button type="button" className="quiet small" onClick={() => choose({ goal: "" })}>
            All goals' tasks
          </button>
        </p>
      )}
      <Refusal error={error} />
      {!found && !error && <Looking />}
      {found && (
        <div aria-busy={place.busy}>
          <TaskTable tasks={found.items} whose none={none} />
        </div>
      )}
      <Pager of="tasks" place={place} />
    </section>
  );
}

interface FindProps {
  /** Whose tasks are shown; "" for all. */
  agent: string;
  of: (agent: string) => void;
  /** Milliseconds; 0 for now. */
  until: number;
  go: (ms: number) => void;
}

/** By an id there is one task, or the goal that has it; by an agent's name there are its tasks. */
function Find({ agent, of, until, go }: FindProps) {
  const [, navigate] = useLocation();
  const [words, setWords] = useState(agent);
  useEffect(() => setWords(agent), [agent]);
  const find = useMutation({ mutationFn: placeOf, onSuccess: (path) => navigate(path) });
  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const wanted = words.trim();
    find.reset();
    if (isId(wanted)) find.mutate(wanted.toLowerCase());
    else of(wanted);
  }
  return (
    <>
      <form role="search" className="row tools" onSubmit={send}>
        <input
          type="search"
          aria-label="An agent whose tasks are wanted, or a task's or goal's id"
          placeholder="An agent such as coder-1, or an id"
          value={words}
          onChange={(event) => {
            setWords(event.target.value);
            if (!event.target.value && agent) of(""); // also by the cross that browsers have there
          }}
        />
        <button type="submit" className="quiet">
          Find
        </button>
        <label className="beside">
          Made up to
          <input
            type="datetime-local"
            value={until ? local(until) : ""}
            onChange={(event) => go(event.target.value ? Date.parse(event.target.value) + MINUTE_MS - 1 : 0)}
          />
        </label>
      </form>
      <Refusal error={find.error} />
    </>
  );
}

/** Where the page of a task or goal is. */
async function placeOf(id: string): Promise<string> {
  try {
    await answer(api.GET("/api/tasks/{task_id}", { params: { path: { task_id: id } } }));
    return taskAt(id);
  } catch (error) {
    if ((error as Refused).status !== 404) throw error;
  }
  try {
    await answer(api.GET("/api/workflows/{workflow_id}", { params: { path: { workflow_id: id } } }));
    return goalAt(id);
  } catch (error) {
    if ((error as Refused).status !== 404) throw error;
    throw new Error(`No task and no goal has the id ${id}, or the history keeps it no longer.`);
  }
}

/** A time as the browser's field for one has it. */
function local(ms: number): string {
  const then = new Date(ms);
  return new Date(ms - then.getTimezoneOffset() * MINUTE_MS).toISOString().slice(0, 16);
}
