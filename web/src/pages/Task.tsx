import { useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../api/client";
import { useMay } from "../api/session";
import { count, dollars, many, seconds } from "../lib/format";
import { Refusal } from "../parts/Failed";
import { Log } from "../parts/Log";
import { Awaited } from "../parts/Awaited";
import { Id } from "../parts/Id";
import { Kept } from "../parts/Kept";
import { Moment } from "../parts/Moment";
import { Order } from "../parts/Order";
import { State } from "../parts/State";
import { Timeline } from "../parts/Timeline";
import { Title } from "../parts/Title";
import { ToAgent, ToGoal, ToTask } from "../parts/To";

const EVERY_MS = 2_000;

export function Task({ id }: { id: string }) {
  const path = { params: { path: { task_id: id } } };
  const task = useQuery({
    queryKey: ["task", id],
    queryFn: () => answer(api.GET("/api/tasks/{task_id}", path)),
    refetchInterval: ({ state }) => (state.data?.finished_ms ? false : EVERY_MS),
  });
  const { fleet } = useMay();
  const found = task.data;
  if (!found) return <Awaited name="Task" error={task.error} />;
  return (
    <>
      <Title>{found.title || found.key || found.id}</Title>
      <Facts task={found} />
      {found.failure && <Refusal error={new Error(found.failure.message)} />}
      {fleet && !(found.finished_ms && !found.agent_id) && <Why id={id} />}
      <Story id={id} open={!found.finished_ms} />
      {found.input != null && <Value name="Input" value={found.input} />}
      {found.state === "succeeded" && <Value name="Result" value={found.result} />}
    </>
  );
}

function Facts({ task }: { task: Shape["TaskDetail"] }) {
  const { cost } = task;
  return (
    <section className="panel">
      <dl>
        <dt>State</dt>
        <dd>
          <State of={task.state} /> {task.state === "running" && task.progress > 0 && <progress value={task.progress} aria-label="Done" />} {!task.finished_ms && task.note}
        </dd>
        <dt>Capability</dt>
        <dd>{task.capability}</dd>
        {task.agent_id && (
          <>
            <dt>Agent</dt>
            <dd>
              <ToAgent id={task.agent_id} />
              {task.host_id && ` on ${task.host_id}`}, {many(task.attempt, "attempt")}, of which {count(task.failures)} failed
            </dd>
          </>
        )}
        {task.waits_for.length > 0 && (
          <>
            <dt>Waits for</dt>
            <dd>{task.waits_for.join(", ")}</dd>
          </>
        )}
        {task.workflow_id && (
          <>
            <dt>Goal</dt>
            <dd>
              <ToGoal id={task.workflow_id} />
            </dd>
          </>
        )}
        {task.parent_id && (
          <>
            <dt>Spawned by</dt>
            <dd>
              <ToTask id={task.parent_id} />
            </dd>
          </>
        )}
        {task.needs.length > 0 && (
          <>
            <dt>Needs</dt>
            <dd className="links">
              {task.needs.map((need) => (
                <ToTask key={need} id={need} />
              ))}
            </dd>
          </>
        )}
        <dt>Times</dt>
        <dd>
          submitted <Moment ms={task.created_ms} />
          {task.started_ms > 0 && (
            <>
              , last attempt began <Moment ms={task.started_ms} /> and {task.finished_ms ? "took" : "has taken"} {seconds(task.seconds)}
            </>
          )}
        </dd>
        <dt>Id</dt>
        <dd>
          <Id of={task.id} />
        </dd>
        {task.trace_id && (
          <>
            <dt>Trace</dt>
            <dd>
              <Id of={task.trace_id} />
            </dd>
          </>
        )}
        <dt>Cost</dt>
        <dd>
          {dollars(cost.usd)}, {many(cost.tokens, "token")} in {many(cost.calls, "request")}, {seconds(cost.agent_s)} of an agent's time
        </dd>
      </dl>
      {!task.finished_ms && (
        <div className="row actions">
          <Order
            label="Cancel it"
            needs="work"
            changes="task"
            confirm="Cancel this task and what it spawned?"
            run={() => answer(api.POST("/api/tasks/{task_id}/cancel", { params: { path: { task_id: task.id } } }))}
          />
        </div>
      )}
    </section>
  );
}

function Why({ id }: { id: string }) {
  const why = useQuery({
    queryKey: ["why", id],
    queryFn: () => answer(api.GET("/api/tasks/{task_id}/why", { params: { path: { task_id: id } } })),
  });
  return (
    <section>
      <h2>Why this agent</h2>
      <Refusal error={why.error} />
      {why.data && <p className="sentence">{why.data.sentence}</p>}
    </section>
  );
}

/** Where its time went, attempts among it, what it kept and said, and what was logged meanwhile. */
function Story({ id, open }: { id: string; open: boolean }) {
  const path = { params: { path: { task_id: id } } };
  const refetchInterval = open && EVERY_MS;
  const timeline = useQuery({
    queryKey: ["timeline", id, open],
    queryFn: () => answer(api.GET("/api/tasks/{task_id}/timeline", path)),
    refetchInterval,
  });
  const kept = useQuery({
    queryKey: ["task steps", id, open],
    queryFn: () => answer(api.GET("/api/tasks/{task_id}/steps", path)),
    refetchInterval,
  });
  const log = useQuery({
    queryKey: ["task log", id, open],
    queryFn: () => answer(api.GET("/api/tasks/{task_id}/logs", path)),
    refetchInterval,
  });
  return (
    <>
      <Refusal error={timeline.error} />
      {timeline.data && <Timeline told={timeline.data} now={timeline.dataUpdatedAt} />}
      <Refusal error={kept.error} />
      {kept.data && <Kept told={kept.data} open={open} />}
      <Log lines={log.data?.lines} error={log.error} without={["task_id", "workflow_id"]} />
    </>
  );
}

function Value({ name, value }: { name: string; value: unknown }) {
  return (
    <section>
      <h2>{name}</h2>
      <pre className="panel" tabIndex={0} aria-label={name}>
        {JSON.stringify(value, null, 2)}
      </pre>
    </section>
  );
}
