import { answer, api, type Shape } from "../api/client";
import { useLive } from "../api/live";
import { useMay } from "../api/session";
import { count, many } from "../lib/format";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Order } from "../parts/Order";
import { Pager, usePage } from "../parts/Pager";
import { Share } from "../parts/Share";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";
import { ToTask } from "../parts/To";

const EVERY_MS = 5_000;
const ROWS = 50;

/** What is queued is of the fleet as a whole; dead letters are a tenant's own. */
export function Queues() {
  const { fleet } = useMay();
  return (
    <>
      <Title>Queues</Title>
      {fleet && <Waiting />}
      <DeadLetters />
    </>
  );
}

function Waiting() {
  const { figures } = useLive();
  const queued = Object.entries(figures?.tasks.queued ?? {}).sort(([, a], [, b]) => b - a);
  const summed = queued.reduce((sum, [, depth]) => sum + depth, 0);
  return (
    <>
      {!figures && <Looking />}
      {figures && <p className="note">{queued.length === 0 ? "Nothing is queued." : `${many(summed, "task")} queued in ${many(queued.length, "queue")}.`}</p>}
      {figures && queued.length > 0 && (
        <Table label="Queues" columns={["Queue", "Queued", "At most", "Full"]} figures={[1, 2, 3]}>
          {queued.map(([name, depth]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{count(depth)}</td>
              <td>{count(figures.tasks.bounds[name])}</td>
              <td>{figures.tasks.bounds[name] ? <Share of={depth / figures.tasks.bounds[name]} bound /> : ""}</td>
            </tr>
          ))}
        </Table>
      )}
      {figures && figures.tasks.delayed > 0 && (
        <p className="note">
          {count(figures.tasks.delayed)} {figures.tasks.delayed === 1 ? "task waits" : "tasks wait"} for a time of their own.
        </p>
      )}
    </>
  );
}

function DeadLetters() {
  const { work } = useMay();
  const { found, error, place } = usePage({
    key: ["dead-letters"],
    look: (cursor) => answer(api.GET("/api/dead-letters", { params: { query: { limit: ROWS, cursor } } })),
    everyMs: EVERY_MS,
  });
  return (
    <section>
      <h2>Dead letters, newest first</h2>
      <Refusal error={error} />
      {!found && !error && <Looking />}
      {found?.items.length === 0 && <p className="note">No task has failed for good.</p>}
      {found && found.items.length > 0 && (
        <Table label="Dead letters" columns={["Task", "Failed", "Capability", "Why", ...(work ? ["What to do"] : [])]}>
          {found.items.map((letter) => (
            <Letter key={letter.task_id} letter={letter} work={work} />
          ))}
        </Table>
      )}
      <Pager of="dead letters" place={place} />
    </section>
  );
}

function Letter({ letter, work }: { letter: Shape["DeadLetterShape"]; work: boolean }) {
  const path = { params: { path: { task_id: letter.task_id } } };
  return (
    <tr>
      <th scope="row">
        <ToTask id={letter.task_id}>{letter.title || letter.key || letter.task_id}</ToTask>
      </th>
      <td>
        <Moment ms={letter.at_ms} />
      </td>
      <td>{letter.capability}</td>
      <td>{letter.failure?.message}</td>
      {work && (
        <td>
          <div className="orders">
            <Order label="Put back" needs="work" changes="dead-letters" run={() => answer(api.POST("/api/dead-letters/{task_id}/retry", path))} />
            <Order
              label="Discard"
              needs="work"
              changes="dead-letters"
              confirm="Discard it? It stays failed."
              run={() => answer(api.POST("/api/dead-letters/{task_id}/discard", path))}
            />
          </div>
        </td>
      )}
    </tr>
  );
}
