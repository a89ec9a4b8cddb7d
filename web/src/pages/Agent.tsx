import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { answer, api } from "../api/client";
import { useSession } from "../api/session";
import { count, moment } from "../lib/format";
import { Refusal } from "../parts/Failed";
import { Order } from "../parts/Order";
import { State } from "../parts/State";
import { TaskTable } from "../parts/TaskTable";

const EVERY_MS = 3_000;

export function Agent() {
  const { id } = useParams({ from: "/agents/$id" });
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
      <h1>{id}</h1>
      <Refusal error={agent.error} />
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
            <dd>{found.current_tasks.length ? found.current_tasks.map((task) => <TaskLink key={task} id={task} />) : "nothing"}</dd>
            <dt>Has done</dt>
            <dd>
              {count(found.tasks_succeeded)} succeeded, {count(found.tasks_failed)} failed
            </dd>
          </dl>
          <Restart pool={found.agent_type} />
        </section>
      )}
      <h2>Latest tasks</h2>
      <Refusal error={tasks.error} />
      {tasks.data && <TaskTable tasks={tasks.data.items} />}
      <Log id={id} />
    </>
  );
}

const TaskLink = ({ id }: { id: string }) => (
  <Link to="/tasks/$id" params={{ id }}>
    {id}
  </Link>
);

/** A pool's agents are made anew together, each once it has done what it runs. */
function Restart({ pool }: { pool: string }) {
  const by = useSession().name || "web";
  const asked = { params: { path: { name: pool } }, body: { by, why: "asked for on the page" } };
  return (
    <div className="row actions">
      <Order
        label={`Restart the agents of ${pool}`}
        changes="agent"
        done="Ordered: each is made anew once it has done what it runs."
        run={() => answer(api.POST("/api/pools/{name}/restart", asked))}
      />
    </div>
  );
}

function Log({ id }: { id: string }) {
  const log = useQuery({
    queryKey: ["log", id],
    queryFn: () => answer(api.GET("/api/agents/{agent_id}/logs", { params: { path: { agent_id: id }, query: { limit: 100 } } })),
    refetchInterval: EVERY_MS,
  });
  const lines = log.data?.lines ?? [];
  return (
    <section>
      <h2>Log</h2>
      <Refusal error={log.error} />
      {lines.length === 0 ? (
        <p className="note">No line of it is kept.</p>
      ) : (
        <pre className="panel" tabIndex={0} aria-label="Log">
          {lines.map(logLine).join("\n")}
        </pre>
      )}
    </section>
  );
}

function logLine(line: Record<string, unknown>): string {
  const { timestamp, level, event, message, agent_id: _, ...rest } = line;
  const fields = Object.entries(rest).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [moment(Date.parse(String(timestamp))), level, message ?? event, ...fields].join("  ");
}
