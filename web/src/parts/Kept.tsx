// What a task kept: the steps that it doesn't do again, and the messages that it sent. The engine forgets both with the task.
import type { Shape } from "../api/client";
import { bytes } from "../lib/format";
import { Moment } from "./Moment";
import { Table } from "./Table";
import { ToAgent } from "./To";

type Told = Shape["TaskSteps"];

export function Kept({ told, open }: { told: Told; open: boolean }) {
  return (
    <>
      <section>
        <h2>Steps</h2>
        {told.steps.length === 0 && <p className="note">{open ? "None yet." : "It kept none, or the engine has forgotten it."}</p>}
        {told.steps.length > 0 && <Steps steps={told.steps} />}
        {told.truncated && <p className="note">It has more steps than are shown here.</p>}
      </section>
      <section>
        <h2>Messages</h2>
        {told.messages.length === 0 && <p className="note">{open ? "It has sent none yet." : "It sent none, or the engine has forgotten it."}</p>}
        {told.messages.length > 0 && <Messages messages={told.messages} />}
      </section>
    </>
  );
}

const Steps = ({ steps }: { steps: Told["steps"] }) => (
  <Table label="Steps" columns={["Step", "Size", "Result"]} figures={[1]}>
    {steps.map((step) => (
      <tr key={step.name}>
        <th scope="row">{step.name}</th>
        <td>{bytes(step.bytes)}</td>
        <td>{step.result != null && <code>{JSON.stringify(step.result)}</code>}</td>
      </tr>
    ))}
  </Table>
);

const Messages = ({ messages }: { messages: Told["messages"] }) => (
  <Table label="Messages" columns={["To", "About", "When", "Reached", "Answer"]}>
    {messages.map((message, row) => (
      <tr key={row}>
        <th scope="row">
          <Recipient name={message.to} />
        </th>
        <td>{message.type.replaceAll("_", " ")}</td>
        <td>
          <Moment ms={message.sent_ms} />
        </td>
        <td>{message.ids.length === 1 ? "one agent" : `${message.ids.length} agents`}</td>
        <td>{message.answer != null && <code>{JSON.stringify(message.answer)}</code>}</td>
      </tr>
    ))}
  </Table>
);

function Recipient({ name }: { name: string }) {
  if (name.includes(":")) return name; // a pool or team, which has no page
  return (
    <ToAgent id={name} />
  );
}
