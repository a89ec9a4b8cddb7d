import type { Shape } from "../api/client";
import { moment, seconds } from "../lib/format";
import { State } from "./State";
import { Table } from "./Table";
import { ToAgent, ToTask } from "./To";

export function TaskTable({ tasks }: { tasks: Shape["TaskShape"][] }) {
  if (tasks.length === 0) return <p className="note">None.</p>;
  return (
    <Table label="Tasks" columns={["Task", "State", "Capability", "Agent", "Began", "Took"]}>
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
                {task.agent_id && (
                  <ToAgent id={task.agent_id} />
                )}
              </td>
              <td>{moment(task.started_ms)}</td>
              <td>{task.started_ms ? seconds(task.seconds) : ""}</td>
            </tr>
          ))}
    </Table>
  );
}
