import type { Shape } from "../api/client";
import { seconds } from "../lib/format";
import { Moment } from "./Moment";
import { State } from "./State";
import { Table } from "./Table";
import { ToAgent, ToTask } from "./To";

interface Props {
  tasks: Shape["TaskShape"][];
  /** What stands there where there are none. */
  none: string;
  /** Whether it says whose each is. */
  whose?: boolean;
}

/** Tasks, a row each. */
export function TaskTable({ tasks, none, whose = false }: Props) {
  if (tasks.length === 0) return <p className="note">{none}</p>;
  const columns = ["Task", "State", "Capability", ...(whose ? ["Agent"] : []), "Began", "Took"];
  return (
    <Table label="Tasks" columns={columns} figures={[columns.length - 1]}>
      {tasks.map((task) => (
        <tr key={task.id}>
          <th scope="row">
            <ToTask id={task.id}>{task.title || task.key || task.id}</ToTask>
          </th>
          <td>
            <State of={task.state} />
          </td>
          <td>{task.capability}</td>
          {whose && <td>{task.agent_id && <ToAgent id={task.agent_id} />}</td>}
          <td>
            <Moment ms={task.started_ms} />
          </td>
          <td>{task.started_ms ? seconds(task.seconds) : ""}</td>
        </tr>
      ))}
    </Table>
  );
}
