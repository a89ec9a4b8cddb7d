import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { answer, api } from "../../api/client";
import { count, dollars, moment, seconds, share } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { State } from "../../parts/State";
import { Approvals } from "./Approvals";
import { Deliverable } from "./Deliverable";
import type { Detail } from "./fold";
import { goalText } from "./goalText";
import { Hierarchy } from "./Hierarchy";
import { useWorkflow } from "./useWorkflow";

const Graph = lazy(() => import("./Graph"));

export function Goal() {
  const { id } = useParams({ from: "/goals/$id" });
  const { data: found, error } = useWorkflow(id);
  if (!found) return error ? <Refusal error={error} /> : <p role="status">Looking…</p>;
  return (
    <>
      <h1>{goalText(found)}</h1>
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
  return (
    <section className="panel">
      <p className="row facts">
        <State of={workflow.state} />
        <progress value={workflow.progress} aria-label="Done" />
        <span>{share(workflow.progress)}</span>
        <span>{Object.entries(workflow.counts).map(([state, of]) => `${count(of)} ${state}`).join(", ")}</span>
        <span>began {moment(workflow.created_ms)}</span>
        {!open && <span>took {seconds((workflow.finished_ms - workflow.created_ms) / 1000)}</span>}
        <span>{dollars(workflow.cost.usd)}</span>
      </p>
      {open && <Orders workflow={workflow} />}
    </section>
  );
}

function Orders({ workflow }: { workflow: Detail }) {
  const client = useQueryClient();
  const path = { params: { path: { workflow_id: workflow.id } } };
  const order = useMutation({
    mutationFn: async (what: "cancel" | "pause" | "resume") => {
      await answer<unknown>(api.POST(`/api/workflows/{workflow_id}/${what}`, path));
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["workflow", workflow.id] }),
  });
  const other = workflow.state === "paused" ? "resume" : "pause";
  return (
    <p className="row actions">
      <button type="button" className="quiet" disabled={order.isPending} onClick={() => order.mutate(other)}>
        {other === "pause" ? "Pause" : "Go on"}
      </button>
      <button type="button" className="quiet" disabled={order.isPending} onClick={() => order.mutate("cancel")}>
        Cancel it
      </button>
      <Refusal error={order.error} />
    </p>
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
      {workflow.tasks_left_out > 0 && <p className="note">{count(workflow.tasks_left_out)} more aren't shown.</p>}
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
