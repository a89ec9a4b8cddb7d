import type { Shape } from "../api/client";
import { seconds } from "../lib/format";
import { Moment } from "./Moment";
import { State } from "./State";
import { Table } from "./Table";
import { ToTask } from "./To";

/** An agent's tasks. */
export function TaskTable({ tasks }: { tasks: Shape["TaskShape"][] }) {
  if (tasks.length === 0) return <p className="note">It has had none, or the history keeps them no longer.</p>;
  return (
    <Table label="Tasks" columns={["Task", "State", "Capability", "Began", "Took"]} figures={[4]}>
      {tasks.map((task) => (
        <tr key={task.id}>
          <th scope="row">
            <ToTask id={task.id}>{task.title || task.key || task.id}</ToTask>
          </th>
          <td>
            <State of={task.state} />
          </td>
          <td>{task.capability}</td>
          <td>
            <Moment ms={task.started_ms} />
          </td>
          <td>{task.started_ms ? seconds(task.seconds) : ""}</td>
        </tr>
      ))}
    </Table>
  );
}
