import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useRef } from "react";
import { useSearchParams } from "wouter";
import { answer, api, type Shape } from "../api/client";
import { useMay } from "../api/session";
import { count, dollars, many, seconds } from "../lib/format";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Pager, usePage } from "../parts/Pager";
import { Share } from "../parts/Share";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";
import { ToAgent, ToGoal } from "../parts/To";

const EVERY_MS = 10_000;
/** What is added up grows with the history: a page that is left open asks for a thirtieth of the time at most. */
const REST = 30;
/** What costs are told apart by, and what each is called here. */
const NAMES = { day: "Day", tenant: "Tenant", workflow: "Goal or flow", pool: "Pool", agent: "Agent", model: "Model" };
type By = keyof typeof NAMES;
const GROUPS = Object.keys(NAMES) as By[];
const ROWS = 50;

export function Costs() {
  const { fleet } = useMay();
  return (
    <>
      <Title>Costs</Title>
      <Spent />
      {fleet && <Budgets />}
    </>
  );
}

function Spent() {
  const [search, setSearch] = useSearchParams();
  const by = GROUPS.find((one) => one === search.get("by")) ?? "day";
  const took = useRef(0);
  const { found, error, place } = usePage({
    key: ["costs", by],
    look: async (cursor) => {
      const began = performance.now();
      const page = await answer(api.GET("/api/costs", { params: { query: { by, limit: ROWS, cursor: cursor || null } } }));
      took.current = performance.now() - began;
      return page;
    },
    everyMs: () => Math.max(EVERY_MS, REST * took.current),
  });
  return (
    <section>
      <label className="short">
        Told apart by
        <select value={by} onChange={(event) => setSearch({ by: event.target.value }, { replace: true })}>
          {Object.entries(NAMES).map(([one, name]) => (
            <option key={one} value={one}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <Refusal error={error} />
      {!found && !error && <Looking />}
      {found && (
        <Table label={`Costs by ${by}`} columns={[NAMES[by], "Cost", "Of all", "Tokens", "Requests", "Agents' time"]} figures={[1, 2, 3, 4, 5]}>
          <Row cost={found.total} of={found.total} className="total">
            In all
          </Row>
          {found.items.map((group) => (
            <Row key={group.name} cost={group} of={found.total}>
              <Named by={by} name={group.name} />
            </Row>
          ))}
        </Table>
      )}
      <Pager of="costs" place={place} words={by === "day" ? undefined : ["First", "Back", "More"]} />
    </section>
  );
}

function Named({ by, name }: { by: By; name: string }) {
  if (!name) return "none";
  if (by === "workflow") return <ToGoal id={name} />;
  return by === "agent" ? <ToAgent id={name} /> : name;
}

interface RowProps {
  cost: Shape["Cost"];
  /** What its share is of. */
  of: Shape["Cost"];
  className?: string;
  children: ReactNode;
}

const Row = ({ cost, of, className = "", children }: RowProps) => (
  <tr className={className}>
    <th scope="row">{children}</th>
    <td>{dollars(cost.usd)}</td>
    <td>{of.usd ? <Share of={(cost.usd ?? 0) / of.usd} /> : ""}</td>
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
        <Table label="Budgets" columns={["Of", "Used up", "At most", "Spent", "Reserved", "Tasks that wait"]} figures={[1, 5]}>
          {found.map((budget) => (
            <tr key={budget.scope}>
              <th scope="row">{budget.scope}</th>
              <td>
                <Share of={usedUp(budget)} bound />
              </td>
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

/** What is spent or reserved of the limit that is nearest. */
function usedUp({ limit, spent, reserved }: Shape["BudgetView"]): number {
  const units = ["usd", "tokens", "calls", "agent_s"] as const;
  return Math.max(0, ...units.map((unit) => (limit[unit] ? ((spent[unit] ?? 0) + (reserved[unit] ?? 0)) / limit[unit] : 0)));
}

/** What isn't limited stands in the way where it is nothing. */
function amounts({ usd, tokens, calls, agent_s }: Shape["Amounts"]): string {
  const said = [
    usd && dollars(usd),
    tokens && many(tokens, "token"),
    calls && many(calls, "request"),
    agent_s && `${seconds(agent_s)} of agents' time`,
  ];
  return said.filter(Boolean).join(", ") || "nothing";
}
