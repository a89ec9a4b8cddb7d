import { useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../../api/client";
import { useMay } from "../../api/session";
import { count, seconds } from "../../lib/format";
import { Looking } from "../../parts/Awaited";
import { Refusal } from "../../parts/Failed";
import { Moment } from "../../parts/Moment";
import { Pager, usePage } from "../../parts/Pager";
import { Share } from "../../parts/Share";
import { State } from "../../parts/State";
import { Table } from "../../parts/Table";
import { Title } from "../../parts/Title";
import { ToGoal } from "../../parts/To";
import { goalText } from "./goalText";
import { Submit } from "./Submit";

const EVERY_MS = 3_000;
const ROWS = 50;

export function Goals() {
  const may = useMay();
  const { found, error, place } = usePage({
    key: ["workflows"],
    look: (cursor) => answer(api.GET("/api/workflows", { params: { query: { limit: ROWS, cursor } } })),
    everyMs: EVERY_MS,
  });
  return (
    <>
      <Title>Goals</Title>
      {may.work && <Submit />}
      <Asked />
      <section>
        <h2>Goals and flows, newest first</h2>
        <Refusal error={error} />
        {!found && !error && <Looking />}
        {found?.items.length === 0 && <p className="note">None yet: {may.work && "say above what is wanted, or "}use amas run.</p>}
        {found && found.items.length > 0 && (
          <div aria-busy={place.busy}>
            <Listed workflows={found.items} />
          </div>
        )}
        <Pager of="goals" place={place} />
      </section>
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
