import { useInfiniteQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../../api/client";
import { count, moment, seconds, share } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
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

function Listed({ workflows }: { workflows: Shape["WorkflowShape"][] }) {
  return (
    <Table label="Goals and flows" columns={["Goal", "State", "Done", "Tasks", "Began", "Took"]}>
          {workflows.map((one) => (
            <tr key={one.id}>
              <th scope="row">
                <ToGoal id={one.id}>{goalText(one)}</ToGoal>
              </th>
              <td>
                <State of={one.state} />
              </td>
              <td>{share(one.progress)}</td>
              <td>{count(Object.values(one.counts).reduce((sum, of) => sum + of, 0))}</td>
              <td>{moment(one.created_ms)}</td>
              <td>{seconds(one.seconds)}</td>
            </tr>
          ))}
    </Table>
  );
}
