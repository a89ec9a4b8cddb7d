import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Shape } from "../api/client";
import { count, dollars, seconds } from "../lib/format";
import { Refusal } from "../parts/Failed";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";

const EVERY_MS = 10_000;
const BY = ["day", "tenant", "workflow", "pool", "agent", "model"] as const;

export function Costs() {
  return (
    <>
      <Title>Costs</Title>
      <Spent />
      <Budgets />
    </>
  );
}

function Spent() {
  const [by, setBy] = useState<(typeof BY)[number]>("day");
  const costs = useInfiniteQuery({
    queryKey: ["costs", by],
    queryFn: ({ pageParam }) => answer(api.GET("/api/costs", { params: { query: { by, limit: 50, cursor: pageParam } } })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    refetchInterval: EVERY_MS,
  });
  const total = costs.data?.pages[0]?.total;
  return (
    <section>
      <label className="short">
        By
        <select value={by} onChange={(event) => setBy(event.target.value as typeof by)}>
          {BY.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <Refusal error={costs.error} />
      {costs.data && total && (
        <Table label={`Costs by ${by}`} columns={[by, "Cost", "Tokens", "Requests", "Agents' time"]}>
          <Row name="in all" cost={total} />
          {costs.data.pages.flatMap((page) => page.items.map((group) => <Row key={group.name} name={group.name || "none"} cost={group} />))}
        </Table>
      )}
      {costs.hasNextPage && (
        <button type="button" className="quiet" onClick={() => void costs.fetchNextPage()}>
          Show more
        </button>
      )}
    </section>
  );
}

const Row = ({ name, cost }: { name: string; cost: Shape["Cost"] }) => (
  <tr>
    <th scope="row">{name}</th>
    <td>{dollars(cost.usd)}</td>
    <td>{count(cost.tokens)}</td>
    <td>{count(cost.calls)}</td>
    <td>{seconds(cost.agent_s)}</td>
  </tr>
);

function Budgets() {
  const budgets = useQuery({ queryKey: ["budgets"], queryFn: () => answer(api.GET("/api/budgets")), refetchInterval: EVERY_MS });
  const found = budgets.data?.items ?? [];
  return (
    <section>
      <h2>Budgets</h2>
      <Refusal error={budgets.error} />
      {budgets.isSuccess && found.length === 0 && <p className="note">Nothing is limited by a budget.</p>}
      {found.length > 0 && (
        <Table label="Budgets" columns={["Of", "At most", "Spent", "Reserved", "Tasks that wait for it"]}>
          {found.map((budget) => (
            <tr key={budget.scope}>
              <th scope="row">{budget.scope}</th>
              <td>{amounts(budget.limit)}</td>
              <td>{amounts(budget.spent)}</td>
              <td>{amounts(budget.reserved)}</td>
              <td>{count(budget.parked)}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

function amounts({ usd, tokens, calls, agent_s }: Shape["Amounts"]): string {
  const said = [
    usd != null && dollars(usd),
    tokens != null && `${count(tokens)} tokens`,
    calls != null && `${count(calls)} requests`,
    agent_s != null && `${seconds(agent_s)} of agents' time`,
  ];
  return said.filter(Boolean).join(", ");
}
