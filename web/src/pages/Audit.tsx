import { answer, api } from "../api/client";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Pager, usePage } from "../parts/Pager";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";

const EVERY_MS = 10_000;
const ROWS = 50;

export function Audit() {
  const { found, error, place } = usePage({
    key: ["audit"],
    look: (cursor) => answer(api.GET("/api/audit", { params: { query: { limit: ROWS, before: Number(cursor) || 0 } } })),
    everyMs: EVERY_MS,
  });
  return (
    <section>
      <Title>Audit</Title>
      <p className="note">
        Who changed what, newest first; <code>amas audit verify</code> checks that nothing was taken out or altered.
      </p>
      <Refusal error={error} />
      {!found && !error && <Looking />}
      {found?.items.length === 0 && <p className="note">Nobody has changed anything yet.</p>}
      {found && found.items.length > 0 && (
        <Table label="Administrative acts" columns={["When", "Who", "As", "What", "Whom or what", "Outcome"]}>
          {found.items.map((line) => (
            <tr key={line.seq}>
              <th scope="row">
                <Moment ms={Date.parse(line.at)} />
              </th>
              <td>{line.who}</td>
              <td>{line.role}</td>
              <td title={`${line.act} ${line.on}`}>{line.did}</td>
              <td>{line.about}</td>
              <td>{outcome(line.outcome)}</td>
            </tr>
          ))}
        </Table>
      )}
      <Pager of="the audit" place={place} />
    </section>
  );
}

/** What the log says of itself has no status. */
function outcome(status: number): string {
  if (status < 400) return status ? "done" : "";
  return `${status < 500 ? "refused" : "failed"} (${status})`;
}
