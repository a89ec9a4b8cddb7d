import { lazy, Suspense, useState } from "react";
import { Link } from "wouter";
import { answer, api } from "../../api/client";
import { count, dollars, seconds, share } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { Awaited } from "../../parts/Awaited";
import { Id } from "../../parts/Id";
import { Moment } from "../../parts/Moment";
import { Order } from "../../parts/Order";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { Approvals } from "./Approvals";
import { Deliverable } from "./Deliverable";
import type { Detail } from "./fold";
import { goalText } from "./goalText";
import { Hierarchy } from "./Hierarchy";
import { useWorkflow } from "./useWorkflow";

const Graph = lazy(() => import("./Graph"));

export function Goal({ id }: { id: string }) {
  const { data: found, error } = useWorkflow(id);
  if (!found) return <Awaited name="Goal" error={error} />;
  return (
    <>
      <Title>{goalText(found)}</Title>
      <Summary workflow={found} />
      {found.failure && <Refusal error={new Error(found.failure.message)} />}
      <Approvals workflow={found} />
      {found.result != null && <Deliverable workflow={found} />}
      <Tasks workflow={found} />
    </>
  );
}

function Summary({ workflow }: { workflow: Detail }) {
  const open = !workflow.finished_ms;
  const about = (workflow.goal as { input_dir?: string } | null)?.input_dir;
  return (
    <section className="panel">
      <p className="row facts">
        <State of={workflow.state} />
        <progress value={workflow.progress} aria-label="Done" />
        <span>{share(workflow.progress)}</span>
        <span>{Object.entries(workflow.counts).map(([state, of]) => `${count(of)} ${state}`).join(", ")}</span>
        <span>
          began <Moment ms={workflow.created_ms} />
        </span>
        {!open && <span>took {seconds((workflow.finished_ms - workflow.created_ms) / 1000)}</span>}
        <span>cost {dollars(workflow.cost.usd)}</span>
      </p>
      <p className="row facts note">
        {about && <span>about {about}</span>}
        <Id of={workflow.id} />
      </p>
      {open && <Orders workflow={workflow} />}
    </section>
  );
}

function Orders({ workflow: { id, state } }: { workflow: Detail }) {
  const path = { params: { path: { workflow_id: id } } };
  return (
    <div className="row actions">
      {state === "paused" ? (
        <Order label="Go on" needs="work" changes="workflow" run={() => answer(api.POST("/api/workflows/{workflow_id}/resume", path))} />
      ) : (
        <Order label="Pause" needs="work" changes="workflow" run={() => answer(api.POST("/api/workflows/{workflow_id}/pause", path))} />
      )}
      <Order
        label="Cancel it"
        needs="work"
        changes="workflow"
        confirm="End it now? What is open in it is cancelled."
        run={() => answer(api.POST("/api/workflows/{workflow_id}/cancel", path))}
      />
    </div>
  );
}

function Tasks({ workflow }: { workflow: Detail }) {
  const [shown, setShown] = useState<"hierarchy" | "graph">("hierarchy");
  return (
    <section>
      <div className="row heading">
        <h2>Tasks</h2>
        {(["hierarchy", "graph"] as const).map((view) => (
          <button key={view} type="button" className="quiet" aria-pressed={shown === view} onClick={() => setShown(view)}>
            {view === "hierarchy" ? "Hierarchy" : "Graph"}
          </button>
        ))}
      </div>
      {workflow.tasks_left_out > 0 && (
        <p className="note">
          {count(workflow.tasks_left_out)} more aren't shown: <Link href={`/tasks?goal=${encodeURIComponent(workflow.id)}`}>all of them, newest first</Link>.
        </p>
      )}
      {shown === "hierarchy" ? (
        <Hierarchy tasks={workflow.tasks} />
      ) : (
        <Suspense fallback={<p role="status">Loading the graph…</p>}>
          <Graph tasks={workflow.tasks} />
        </Suspense>
      )}
    </section>
  );
}
