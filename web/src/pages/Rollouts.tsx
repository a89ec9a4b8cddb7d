import { useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../api/client";
import { useBy } from "../api/session";
import { dollars, many, rate, seconds, share } from "../lib/format";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Order } from "../parts/Order";
import { State } from "../parts/State";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";

const EVERY_MS = 3_000;
const OVER = ["promoted", "rolled_back"];

export function Rollouts() {
  const rollouts = useQuery({ queryKey: ["rollouts"], queryFn: () => answer(api.GET("/api/rollouts")), refetchInterval: EVERY_MS });
  return (
    <>
      <Title>Roll-outs</Title>
      <Refusal error={rollouts.error} />
      {rollouts.isPending && <Looking />}
      {rollouts.data?.items.length === 0 && <p className="note">No pool has had a new version beside its old one yet.</p>}
      {rollouts.data?.items.map((view) => (
        <Rollout key={view.pool} view={view} />
      ))}
    </>
  );
}

function Rollout({ view }: { view: Shape["RolloutView"] }) {
  return (
    <section className="panel item">
      <h2>
        {view.pool}: version {view.was} → {view.version}
      </h2>
      {!OVER.includes(view.phase) && <Steps view={view} />}
      <p className="row facts">
        <State of={view.phase} />
        <span>{share(view.share)} of new tasks</span>
        <span>{many(view.tasks, "outcome")} of the new version</span>
        <span>
          begun by {view.by}, <Moment ms={view.started_ms} />
        </span>
        {view.approved_by && <span>approved by {view.approved_by}</span>}
      </p>
      <p>{view.why}</p>
      {!OVER.includes(view.phase) && !view.agents_alive && <p className="refusal">The new version has no live agent.</p>}
      {view.next && <p className="note">Next: {view.next}</p>}
      {view.figures.length > 0 && (
        <Table label={`Figures of ${view.pool}`} columns={["Figure", `Version ${view.was}`, `Version ${view.version}`, "Bound", "Proven"]} figures={[1, 2]}>
          {view.figures.map((figure) => (
            <tr key={figure.name}>
              <th scope="row">{figure.name}</th>
              <td>{shown(figure.name, figure.stable)}</td>
              <td>{view.tasks > 0 ? shown(figure.name, figure.canary) : "–"}</td>
              <td>{figure.bound}</td>
              <td>{PROVEN[figure.standing]}</td>
            </tr>
          ))}
        </Table>
      )}
      {!OVER.includes(view.phase) && <Words view={view} />}
    </section>
  );
}

/** Where it is on its way: each step's share of new tasks, and at the end the promotion. */
const Steps = ({ view }: { view: Shape["RolloutView"] }) => (
  <ol className="steps" aria-label="Steps">
    {view.steps.map((of, at) => (
      <li key={at} aria-current={view.phase === "canary" && at === view.step ? "step" : undefined}>
        {share(of)}
      </li>
    ))}
    <li aria-current={view.phase === "settling" || view.phase === "replacing" ? "step" : undefined}>promoted</li>
  </ol>
);

const UNIT: Record<string, (value: number) => string> = { success: share, time: seconds, cost: dollars };
const shown = (name: string, value: number) => (UNIT[name] ?? rate)(value);

const PROVEN = { fine: "✓ within it", worse: "✕ beyond it", open: "not yet" };

function Words({ view: { pool, phase, version } }: { view: Shape["RolloutView"] }) {
  const by = useBy();
  const said = { params: { path: { pool } }, body: { by } };
  return (
    <div className="row actions">
      {phase === "staging" && <Order label="Approve" needs="operate" changes="rollouts" run={() => answer(api.POST("/api/rollouts/{pool}/approve", said))} />}
      <Order
        label="Promote now"
        needs="operate"
        changes="rollouts"
        confirm={`Promote ${version} of ${pool} now, whatever its figures say?`}
        run={() => answer(api.POST("/api/rollouts/{pool}/promote", said))}
      />
      <Order
        label="Take it back"
        needs="operate"
        changes="rollouts"
        confirm={`Take ${version} of ${pool} back?`}
        run={() => answer(api.POST("/api/rollouts/{pool}/abort", said))}
      />
    </div>
  );
}
