import { Link } from "@tanstack/react-router";
import type { Shape } from "../api/client";
import { moment, seconds } from "../lib/format";
import { State } from "./State";
import { Table } from "./Table";

export function TaskTable({ tasks }: { tasks: Shape["TaskShape"][] }) {
  if (tasks.length === 0) return <p className="note">None.</p>;
  return (
    <Table label="Tasks" columns={["Task", "State", "Capability", "Agent", "Began", "Took"]}>
          {tasks.map((task) => (
            <tr key={task.id}>
              <th scope="row">
                <Link to="/tasks/$id" params={{ id: task.id }}>
                  {task.title || task.key || task.id}
                </Link>
              </th>
              <td>
                <State of={task.state} />
              </td>
              <td>{task.capability}</td>
              <td>
                {task.agent_id && (
                  <Link to="/agents/$id" params={{ id: task.agent_id }}>
                    {task.agent_id}
                  </Link>
                )}
              </td>
              <td>{moment(task.started_ms)}</td>
              <td>{task.started_ms ? seconds(task.seconds) : ""}</td>
            </tr>
          ))}
    </Table>
  );
}
