import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../../api/client";
import { count, seconds } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { Moment } from "../../parts/Moment";
import { Share } from "../../parts/Share";
import { State } from "../../parts/State";
import { Table } from "../../parts/Table";
import { Title } from "../../parts/Title";
import { ToGoal } from "../../parts/To";
import { goalText } from "./goalText";
import { Submit } from "./Submit";

const EVERY_MS = 3_000;

export function Goals() {
  const list = useInfiniteQuery({
    queryKey: ["workflows"],
    queryFn: ({ pageParam }) => answer(api.GET("/api/workflows", { params: { query: { limit: 50, cursor: pageParam } } })),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
    refetchInterval: EVERY_MS,
  });
  const found = list.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <Title>Goals</Title>
      <Submit />
      <Asked />
      <h2>Goals and flows, newest first</h2>
      <Refusal error={list.error} />
      {list.isSuccess && found.length === 0 && <p className="note">None yet: say above what is wanted, or use amas run.</p>}
      {found.length > 0 && <Listed workflows={found} />}
      {list.hasNextPage && (
        <button type="button" className="quiet" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          Show older ones
        </button>
      )}
    </>
  );
}

/** What people are asked just now, whichever goal asks; nothing while nobody is. */
function Asked() {
  const open = useQuery({ queryKey: ["approvals"], queryFn: () => answer(api.GET("/api/approvals")), refetchInterval: EVERY_MS });
  const found = open.data?.items ?? [];
  if (found.length === 0) return null;
  return (
    <section>
      <h2>What you are asked</h2>
      <ul className="links">
        {found.map((asked) => (
          <li key={asked.task_id}>
            <ToGoal id={asked.workflow_id}>{asked.question || asked.key}</ToGoal>
            {asked.expires_ms > 0 && (
              <span className="note">
                {" "}
                until <Moment ms={asked.expires_ms} />
              </span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Listed({ workflows }: { workflows: Shape["WorkflowShape"][] }) {
  return (
    <Table label="Goals and flows" columns={["Goal", "State", "Done", "Tasks", "Began", "Took"]} figures={[2, 3, 5]}>
      {workflows.map((one) => (
        <tr key={one.id}>
          <th scope="row">
            <ToGoal id={one.id}>{goalText(one)}</ToGoal>
          </th>
          <td>
            <State of={one.state} />
          </td>
          <td>{one.finished_ms ? "" : <Share of={one.progress} />}</td>
          <td>{count(Object.values(one.counts).reduce((sum, of) => sum + of, 0))}</td>
          <td>
            <Moment ms={one.created_ms} />
          </td>
          <td>{seconds(one.seconds)}</td>
        </tr>
      ))}
    </Table>
  );
}
