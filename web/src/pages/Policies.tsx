// Who may use which tool: the rules in force, a dry run, and what was refused lately.
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Shape } from "../api/client";
import { count, seconds } from "../lib/format";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";
import { ToAgent } from "../parts/To";

const EVERY_MS = 5_000;

export function Policies() {
  const policies = useQuery({ queryKey: ["policies"], queryFn: () => answer(api.GET("/api/policies")), refetchInterval: EVERY_MS });
  const found = policies.data;
  return (
    <>
      <Title>Policies</Title>
      <p className="note">
        A tool may be used where a rule allows it and none denies it; <code>amas policy apply</code> changes the rules.
      </p>
      <Refusal error={policies.error} />
      {policies.isPending && <Looking />}
      {found && <Rules rules={found.rules} />}
      {found?.warnings.map((warning) => (
        <p key={warning} className="note">
          Probably not meant: {warning}.
        </p>
      ))}
      <DryRun />
      <Refused />
    </>
  );
}

function Rules({ rules }: { rules: Shape["PolicyRule"][] }) {
  if (rules.length === 0) return <p className="note">There are none, so no agent may use any tool.</p>;
  return (
    <Table label="Rules" columns={["Rule", "Says", "Tools", "Of whom", "When", "Limit", "Where it stands"]}>
      {rules.map((rule) => (
        <tr key={rule.name}>
          <th scope="row">{rule.name}</th>
          <td>{rule.effect === "allow" ? "✓ allow" : "✕ deny"}</td>
          <td>{rule.cedar ? <code>{rule.cedar}</code> : (rule.tools ?? ["*"]).join(", ")}</td>
          <td>{whom(rule)}</td>
          <td>{rule.when && Object.entries(rule.when).map(told)}</td>
          <td>{rule.limit && `${count(rule.limit.calls)} in ${seconds(rule.limit.per_s)}, each ${rule.limit.each ?? "fleet"}`}</td>
          <td>{rule.at}</td>
        </tr>
      ))}
    </Table>
  );
}

function whom(rule: Shape["PolicyRule"]): string {
  const { agents, pools, layers, tenants, capabilities } = rule;
  const said = Object.entries({ agents, pools, layers, tenants, capabilities }).filter(([, names]) => names?.length);
  return said.map(([kind, names]) => `${kind} ${names!.join(" or ")}`).join(", ") || "everybody";
}

/** What an argument must be: each of its tests with what it is tested against. */
const told = ([argument, test]: [string, object]) => (
  <div key={argument}>
    {argument}
    {Object.entries(test)
      .filter(([, against]) => against != null)
      .map(([name, against]) => (
        <span key={name}>
          {" "}
          {name.replaceAll("_", " ")} <code>{[against].flat().join(" or ")}</code>
        </span>
      ))}
  </div>
);

/** Ask what the rules say of a call; nothing runs and nothing is counted. */
function DryRun() {
  const [wrong, setWrong] = useState<Error | null>(null);
  const tried = useMutation({
    mutationFn: (call: Shape["PolicyCall"]) => answer(api.POST("/api/policies/test", { body: { calls: [call] } })),
  });
  const decision = tried.data?.items[0];
  const send = (event: React.FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [agent, tool, given] = ["agent", "tool", "arguments"].map((name) => String(form.get(name)).trim()) as [string, string, string];
    try {
      setWrong(null);
      tried.mutate({ agent, tool, arguments: JSON.parse(given || "{}") });
    } catch {
      tried.reset();
      setWrong(new Error('Arguments are written as a JSON object, such as {"command": "ls"}.'));
    }
  };
  return (
    <section>
      <h2>Try a call</h2>
      <form className="panel stack" onSubmit={send}>
        <div className="row fields">
          <label>
            Agent
            <input name="agent" required maxLength={200} placeholder="coder-1" />
          </label>
          <label>
            Tool
            <input name="tool" required maxLength={200} placeholder="shell" />
          </label>
        </div>
        <label>
          Arguments, as JSON
          <textarea name="arguments" rows={2} placeholder='{"command": "git push"}' />
        </label>
        <div className="row">
          <button type="submit" disabled={tried.isPending}>
            Ask
          </button>
        </div>
        <Refusal error={wrong ?? tried.error} />
        {decision && (
          <p role="status">
            {decision.allowed ? "✓" : "✕"} {decision.why}
          </p>
        )}
      </form>
    </section>
  );
}

function Refused() {
  const refusals = useQuery({
    queryKey: ["refusals"],
    queryFn: () => answer(api.GET("/api/policies/refusals", { params: { query: { limit: 100 } } })),
    refetchInterval: EVERY_MS,
  });
  const found = refusals.data?.items ?? [];
  return (
    <section>
      <h2>Refused lately, newest first</h2>
      <Refusal error={refusals.error} />
      {refusals.isSuccess && found.length === 0 && <p className="note">Nothing was refused.</p>}
      {found.length > 0 && (
        <Table label="Refusals" columns={["When", "Agent", "Tool", "Arguments", "Why"]}>
          {found.map((one, row) => (
            <tr key={row}>
              <th scope="row">
                <Moment ms={one.at_ms} />
              </th>
              <td>
                <ToAgent id={one.agent} />
              </td>
              <td>{one.tool}</td>
              <td>
                <code>{one.arguments}</code>
              </td>
              <td>{one.why}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}
