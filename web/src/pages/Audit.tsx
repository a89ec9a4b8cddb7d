import { useInfiniteQuery } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";

const EVERY_MS = 10_000;

export function Audit() {
  const audit = useInfiniteQuery({
    queryKey: ["audit"],
    queryFn: ({ pageParam }) => answer(api.GET("/api/audit", { params: { query: { limit: 50, before: pageParam } } })),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
    refetchInterval: EVERY_MS,
  });
  const found = audit.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <Title>Audit</Title>
      <p className="note">
        Who changed what, newest first; <code>amas audit verify</code> checks that nothing was taken out or altered.
      </p>
      <Refusal error={audit.error} />
      {audit.isSuccess && found.length === 0 && <p className="note">Nobody has changed anything yet.</p>}
      {found.length > 0 && (
        <Table label="Administrative acts" columns={["When", "Who", "As", "What", "Whom or what", "Outcome"]}>
          {found.map((line) => (
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
      {audit.hasNextPage && (
        <button type="button" className="quiet" onClick={() => void audit.fetchNextPage()}>
          Show older ones
        </button>
      )}
    </>
  );
}

/** What the log says of itself has no status. */
function outcome(status: number): string {
  if (status < 400) return status ? "done" : "";
  return `${status < 500 ? "refused" : "failed"} (${status})`;
}
