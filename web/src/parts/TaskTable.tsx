import { Link } from "@tanstack/react-router";
import type { Shape } from "../api/client";
import { moment, seconds } from "../lib/format";
import { State } from "./State";

export function TaskTable({ tasks }: { tasks: Shape["TaskShape"][] }) {
  if (tasks.length === 0) return <p className="note">None.</p>;
  return (
    <div className="wide">
      <table>
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col">State</th>
            <th scope="col">Capability</th>
            <th scope="col">Agent</th>
            <th scope="col">Began</th>
            <th scope="col">Took</th>
          </tr>
        </thead>
        <tbody>
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
        </tbody>
      </table>
    </div>
  );
}
