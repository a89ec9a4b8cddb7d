import { useQuery } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { useBy } from "../api/session";
import { count } from "../lib/format";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Log } from "../parts/Log";
import { Order } from "../parts/Order";
import { Quarantined } from "../parts/Quarantined";
import { State } from "../parts/State";
import { TaskTable } from "../parts/TaskTable";
import { Title } from "../parts/Title";
import { ToTask } from "../parts/To";

const EVERY_MS = 3_000;

export function Agent({ id }: { id: string }) {
  const path = { params: { path: { agent_id: id } } };
  const agent = useQuery({
    queryKey: ["agent", id],
    queryFn: () => answer(api.GET("/api/agents/{agent_id}", path)),
    refetchInterval: EVERY_MS,
  });
  const tasks = useQuery({
    queryKey: ["tasks", "of", id],
    queryFn: () => answer(api.GET("/api/tasks", { params: { query: { agent_id: id, limit: 20 } } })),
    refetchInterval: EVERY_MS,
  });
  const found = agent.data;
  return (
    <>
      <Title>{id}</Title>
      <Refusal error={agent.error} />
      {agent.isPending && <Looking />}
      <Quarantined id={id} />
      {found && (
        <section className="panel">
          <dl>
            <dt>Status</dt>
            <dd>
              <State of={found.status} />
            </dd>
            <dt>Title</dt>
            <dd>
              {found.title || found.agent_type}, {found.layer}
            </dd>
            {found.lead && (
              <>
                <dt>Lead</dt>
                <dd>{found.lead}</dd>
              </>
            )}
            <dt>Can do</dt>
            <dd>{found.capabilities.join(", ")}</dd>
            <dt>Host</dt>
            <dd>
              {found.host_id}, version {found.version}
            </dd>
            <dt>Works on</dt>
            <dd className="links">{found.current_tasks.length ? found.current_tasks.map((task) => <ToTask key={task} id={task} />) : "nothing"}</dd>
            <dt>Has done</dt>
            <dd>
              {count(found.tasks_succeeded)} succeeded, {count(found.tasks_failed)} failed
            </dd>
          </dl>
          <Restart id={id} />
        </section>
      )}
      <h2>Latest tasks</h2>
      <Refusal error={tasks.error} />
      {tasks.data && <TaskTable tasks={tasks.data.items} none="It has had none, or the history keeps them no longer." />}
      {found && <OwnLog id={id} />}
    </>
  );
}

function Restart({ id }: { id: string }) {
  const asked = { params: { path: { agent_id: id } }, body: { by: useBy(), why: "asked for on the page" } };
  return (
    <div className="row actions">
      <Order
        label="Restart it"
        needs="operate"
        changes="agent"
        done="Ordered: what it runs is given back, and it is made anew."
        run={() => answer(api.POST("/api/agents/{agent_id}/restart", asked))}
      />
    </div>
  );
}

function OwnLog({ id }: { id: string }) {
  const log = useQuery({
    queryKey: ["log", id],
    queryFn: () => answer(api.GET("/api/agents/{agent_id}/logs", { params: { path: { agent_id: id }, query: { limit: 100 } } })),
    refetchInterval: EVERY_MS,
  });
  return <Log lines={log.data?.lines} error={log.error} without={["agent_id"]} />;
}
