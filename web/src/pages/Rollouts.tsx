import { useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../api/client";
import { useBy } from "../api/session";
import { moment, rate, share } from "../lib/format";
import { Refusal } from "../parts/Failed";
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
        {view.pool}: {view.was} → {view.version}
      </h2>
      <p className="row facts">
        <State of={view.phase} />
        <span>{share(view.share)} of new tasks</span>
        <span>{rate(view.tasks)} outcomes</span>
        <span>
          begun by {view.by} {moment(view.started_ms)}
        </span>
      </p>
      <p>{view.why}</p>
      {view.next && <p className="note">Next: {view.next}</p>}
      {view.figures.length > 0 && (
        <Table label={`Figures of ${view.pool}`} columns={["Figure", view.was, view.version, "Bound", "Standing"]}>
          {view.figures.map((figure) => (
            <tr key={figure.name}>
              <th scope="row">{figure.name}</th>
              <td>{rate(figure.stable)}</td>
              <td>{rate(figure.canary)}</td>
              <td>{figure.bound}</td>
              <td>{figure.standing}</td>
            </tr>
          ))}
        </Table>
      )}
      {!OVER.includes(view.phase) && <Words view={view} />}
    </section>
  );
}

function Words({ view: { pool, phase, version } }: { view: Shape["RolloutView"] }) {
  const by = useBy();
  const said = { params: { path: { pool } }, body: { by } };
  return (
    <div className="row actions">
      {phase === "staging" && <Order label="Approve" changes="rollouts" run={() => answer(api.POST("/api/rollouts/{pool}/approve", said))} />}
      <Order
        label="Promote now"
        changes="rollouts"
        confirm={`Promote ${version} of ${pool} now, whatever its figures say?`}
        run={() => answer(api.POST("/api/rollouts/{pool}/promote", said))}
      />
      <Order
        label="Take it back"
        changes="rollouts"
        confirm={`Take ${version} of ${pool} back?`}
        run={() => answer(api.POST("/api/rollouts/{pool}/abort", said))}
      />
    </div>
  );
}
