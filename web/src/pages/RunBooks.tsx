import { useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../api/client";
import { useBy, useMay } from "../api/session";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Order } from "../parts/Order";
import { State } from "../parts/State";
import { Table } from "../parts/Table";

const EVERY_MS = 3_000;

/** What the fleet does about alerts by itself. */
export function RunBooks() {
  const books = useQuery({ queryKey: ["runbooks"], queryFn: () => answer(api.GET("/api/runbooks")) });
  return (
    <section>
      <h2>Run-books</h2>
      <Refusal error={books.error} />
      {books.data && (
        <Table label="Run-books" columns={["Run-book", "Started by", "Steps"]}>
          {books.data.items.map((book) => (
            <tr key={book.name}>
              <th scope="row">{book.title || book.name}</th>
              <td>{book.rules.join(", ") || "people"}</td>
              <td>
                <ol>
                  {book.steps.map((step) => (
                    <li key={step}>{step}</li>
                  ))}
                </ol>
              </td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

/** What it is doing about them, and what it asks a person before it goes on. */
export function Runs() {
  const { operate } = useMay();
  const runs = useQuery({
    queryKey: ["runbook-runs"],
    queryFn: () => answer(api.GET("/api/runbook-runs", { params: { query: { limit: 20 } } })),
    refetchInterval: EVERY_MS,
  });
  return (
    <section>
      <h2>Runs of run-books, newest first</h2>
      <Refusal error={runs.error} />
      {runs.data?.items.length === 0 && <p className="note">None yet.</p>}
      {runs.data && runs.data.items.length > 0 && (
        <Table label="Runs" columns={["Run-book", "About", "Status", "At", "Begun", "By", ...(operate ? ["What to do"] : [])]}>
          {runs.data.items.map((run) => (
            <tr key={run.id}>
              <th scope="row">{run.book.name}</th>
              <td>{Object.values(run.subject).join(", ")}</td>
              <td>
                <State of={run.status} />
              </td>
              <td>{!run.ended_ms && run.book.steps[run.at ?? 0]?.name}</td>
              <td>
                <Moment ms={run.begun_ms} />
              </td>
              <td>{run.by}</td>
              {operate && <td>{!run.ended_ms && <Words run={run} />}</td>}
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

function Words({ run }: { run: Shape["Run"] }) {
  const by = useBy();
  const path = { params: { path: { run_id: run.id } } };
  const say = (refuse: boolean) => answer(api.POST("/api/runbook-runs/{run_id}/answer", { ...path, body: { by, refuse } }));
  const asks = run.steps?.[run.at ?? 0]?.status === "asking";
  return (
    <div className="orders">
      {asks && <Order label="Confirm" needs="operate" changes="runbook-runs" run={() => say(false)} />}
      {asks && <Order label="Refuse" needs="operate" changes="runbook-runs" run={() => say(true)} />}
      <Order
        label="End it"
        needs="operate"
        changes="runbook-runs"
        confirm="Do no further step? What was done stays done."
        run={() => answer(api.POST("/api/runbook-runs/{run_id}/end", { ...path, body: { by } }))}
      />
    </div>
  );
}
