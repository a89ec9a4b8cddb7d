// Where a task's time went: a bar for each wait, attempt, request to a model and sub-task, over one axis of time. The table's words
// say the same, so the bars are hidden from who doesn't see them.
import type { Shape } from "../api/client";
import { seconds } from "../lib/format";
import { Moment } from "./Moment";
import { State } from "./State";
import { Table } from "./Table";
import { ToAgent, ToTask } from "./To";

type Span = Shape["TimelineSpan"];

const NAME: Record<Span["kind"], string> = { waited: "Waited", attempt: "Attempt", request: "Request", task: "Sub-task" };

export function Timeline({ told, now }: { told: Shape["Timeline"]; now: number }) {
  if (told.spans.length === 0) return null;
  const from = told.spans[0]!.started_ms;
  const end = (span: Span) => span.finished_ms || now;
  const whole = Math.max(1, ...told.spans.map((span) => end(span) - from));
  return (
    <section>
      <h2>Where its time went</h2>
      <Table label="Where its time went" columns={["What", `Within ${seconds(whole / 1000)}`, "How it ended", "After", "Took", "Note"]} figures={[3, 4]}>
        {told.spans.map((span, row) => (
          <tr key={row}>
            <th scope="row">
              {NAME[span.kind]} {span.kind === "attempt" && `${span.attempt} `}
              <Who span={span} />
            </th>
            <td className="stretch" aria-hidden="true">
              <div className="track">
                <span
                  className={`span span-${span.kind} span-${span.state}`}
                  style={{ left: `${(100 * (span.started_ms - from)) / whole}%`, width: `${(100 * (end(span) - span.started_ms)) / whole}%` }}
                />
              </div>
            </td>
            <td>{span.state !== "ended" && <State of={span.state} />}</td>
            <td>{seconds((span.started_ms - from) / 1000)}</td>
            <td>{seconds((end(span) - span.started_ms) / 1000)}</td>
            <td>{span.note}</td>
          </tr>
        ))}
      </Table>
      <p className="note">
        From <Moment ms={from} />.{told.more_sub_tasks && " It has more sub-tasks than are shown here."}
      </p>
    </section>
  );
}

function Who({ span }: { span: Span }) {
  if (span.kind === "attempt") return <ToAgent id={span.name} />;
  if (span.kind === "task") return <ToTask id={span.id ?? ""}>{span.name}</ToTask>;
  return span.name;
}
