import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { answer, api, type Shape } from "../api/client";
import { useBy, useMay } from "../api/session";
import { seconds } from "../lib/format";
import { Looking } from "../parts/Awaited";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Order } from "../parts/Order";
import { State } from "../parts/State";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";
import { RunBooks, Runs } from "./RunBooks";

const EVERY_MS = 3_000;

export function Alerts() {
  const alerts = useQuery({ queryKey: ["alerts"], queryFn: () => answer(api.GET("/api/alerts")), refetchInterval: EVERY_MS });
  const found = alerts.data?.items ?? [];
  return (
    <>
      <Title>Alerts</Title>
      <Refusal error={alerts.error} />
      {alerts.isPending && <Looking />}
      {alerts.isSuccess && found.length === 0 && <p className="note">Nothing is wrong that a rule looks for.</p>}
      {found.length > 0 && (
        <Table label="Alerts" columns={["Alert", "Status", "Gravity", "Since", "Why"]}>
          {found.map((alert) => (
            <tr key={alert.fingerprint}>
              <th scope="row">{alert.rule}</th>
              <td>
                <State of={alert.status} />
                {alert.silenced_by && " (silenced)"}
              </td>
              <td>
                <Gravity of={alert.severity} />
              </td>
              <td>
                <Moment ms={alert.since_ms} />
              </td>
              <td>{alert.reason}</td>
            </tr>
          ))}
        </Table>
      )}
      <Runs />
      {alerts.data && <Silences rules={alerts.data.rules} />}
      {alerts.data && <Rules rules={alerts.data.rules} />}
      <RunBooks />
    </>
  );
}

const Gravity = ({ of }: { of: string }) => <span className={`gravity-${of}`}>{of}</span>;

function Silences({ rules }: { rules: Shape["RuleShape"][] }) {
  const { operate } = useMay();
  const silences = useQuery({ queryKey: ["silences"], queryFn: () => answer(api.GET("/api/silences")), refetchInterval: EVERY_MS });
  const found = silences.data?.items ?? [];
  return (
    <section>
      <h2>Silences</h2>
      <Refusal error={silences.error} />
      {found.length > 0 && (
        <Table label="Silences" columns={["Alert", "Until", "By", "Why", ...(operate ? ["What to do"] : [])]}>
          {found.map((silence) => (
            <tr key={silence.id}>
              <th scope="row">{silence.alert === "*" ? "all" : silence.alert}</th>
              <td>
                <Moment ms={silence.until_ms} />
              </td>
              <td>{silence.by}</td>
              <td>{silence.why}</td>
              {operate && (
              <td>
                <Order
                  label="End it"
                  needs="operate"
                  changes="silences"
                  run={() => answer(api.DELETE("/api/silences/{silence_id}", { params: { path: { silence_id: silence.id } } }))}
                />
              </td>
              )}
            </tr>
          ))}
        </Table>
      )}
      {silences.isSuccess && found.length === 0 && <p className="note">Nothing is silenced.</p>}
      {operate && <NewSilence rules={rules} />}
    </section>
  );
}

function NewSilence({ rules }: { rules: Shape["RuleShape"][] }) {
  const by = useBy();
  const client = useQueryClient();
  const silence = useMutation({
    mutationFn: (body: Shape["NewSilence"]) => answer(api.POST("/api/silences", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["silences"] }),
  });
  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const text = (field: string) => String(given.get(field));
    silence.mutate({ alert: text("alert"), for_s: Number(given.get("hours")) * 3600, by: text("by"), why: text("why") });
  }
  return (
    <form className="panel stack" onSubmit={send} aria-label="Silence an alert">
      <div className="row fields">
        <label>
          Alert
          <select name="alert">
            {rules.map((rule) => (
              <option key={rule.name}>{rule.name}</option>
            ))}
            <option value="*">all</option>
          </select>
        </label>
        <label>
          Hours
          <input name="hours" type="number" min="0.25" max="720" step="0.25" defaultValue="1" required />
        </label>
        <label>
          By
          <input name="by" defaultValue={by} required />
        </label>
        <label>
          Why
          <input name="why" required />
        </label>
      </div>
      <button type="submit" disabled={silence.isPending}>
        Silence it
      </button>
      <Refusal error={silence.error} />
    </form>
  );
}

const Rules = ({ rules }: { rules: Shape["RuleShape"][] }) => (
  <section>
    <h2>Rules in force</h2>
    <Table label="Rules" columns={["Rule", "Gravity", "When", "For", "Run-book"]}>
      {rules.map((rule) => (
        <tr key={rule.name}>
          <th scope="row">{rule.name}</th>
          <td>{rule.severity}</td>
          <td>
            <code>{rule.when}</code>
          </td>
          <td>{rule.for_s ? seconds(rule.for_s) : "at once"}</td>
          <td>{rule.runbook}</td>
        </tr>
      ))}
    </Table>
  </section>
);
