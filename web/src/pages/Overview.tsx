import { useMemo } from "react";
import { type Sample, useLive } from "../api/live";
import { bytes, count, dollars, rate, seconds, share } from "../lib/format";
import { Refusal } from "../parts/Failed";
import { Plot } from "../parts/Plot";
import { Table } from "../parts/Table";

export function Overview() {
  const { figures, samples, trouble } = useLive();
  const last = samples.at(-1);
  const times = useMemo(() => samples.map((sample) => sample.at_s), [samples]);
  const of = (name: keyof Sample) => ({ times, values: samples.map((sample) => sample[name]) });
  return (
    <>
      <h1>Overview</h1>
      <Refusal error={trouble ? new Error(trouble) : null} />
      <div className="figures">
        <Figure name="Tasks a second" value={rate(figures?.tasks_per_second)} plot={of("tasks_per_second")}>
          over the last minute
        </Figure>
        <Figure name="Agents working" value={count(figures?.agents.working)} plot={of("working")}>
          of {count(figures?.agents.total)}: {count(figures?.agents.idle)} idle, {count(figures?.agents.error)} in error,{" "}
          {count(figures?.agents.healing)} healing
        </Figure>
        <Figure name="Average response" value={seconds(figures?.average_response_s)} plot={of("response_s")}>
          over five minutes
        </Figure>
        <Figure name="CPU of the hosts" value={last?.cpu == null ? "–" : `${last.cpu.toFixed(2)} cores`} plot={of("cpu")}>
          {count(figures?.hosts.length)} {figures?.hosts.length === 1 ? "host" : "hosts"}, {share(figures?.utilisation)} of the slots in use
        </Figure>
        <Figure name="Memory of the hosts" value={bytes(last?.rss_bytes)} plot={of("rss_bytes")}>
          resident
        </Figure>
        <Figure name="Success" value={share(figures?.success_rate)}>
          {count(figures?.tasks.succeeded)} succeeded, {count(figures?.tasks.failed)} failed, {count(figures?.tasks.retried)} tried again
        </Figure>
        <Figure name="Goals and flows open" value={count(figures?.workflows_open)}>
          {count(figures?.tasks.running)} tasks running, {count(figures && queued(figures.tasks.queued))} queued,{" "}
          {count(figures?.tasks.dead_letters)} dead letters
        </Figure>
        <Figure name="Cost of the last day" value={dollars(figures?.cost?.usd_last_day)}>
          {dollars(figures?.cost?.usd_last_hour)} in the last hour, {dollars(figures?.cost?.usd_month_projected)} projected for a month
        </Figure>
      </div>
      {figures && (
        <section>
          <h2>Hosts</h2>
          <Table label="Hosts" columns={["Host", "Agents", "Running", "CPU so far", "Memory", "Loop lag"]}>
                {figures.hosts.map((host) => (
                  <tr key={host.id}>
                    <th scope="row">{host.id}</th>
                    <td>{count(host.agents)}</td>
                    <td>{count(host.running)}</td>
                    <td>{seconds(host.cpu_s)}</td>
                    <td>{bytes(host.rss_bytes)}</td>
                    <td>{seconds(host.loop_lag_s)}</td>
                  </tr>
                ))}
          </Table>
        </section>
      )}
    </>
  );
}

const queued = (by: Record<string, number>) => Object.values(by).reduce((sum, depth) => sum + depth, 0);

interface FigureProps {
  name: string;
  value: string;
  plot?: { times: number[]; values: (number | null)[] };
  children: React.ReactNode;
}

function Figure({ name, value, plot, children }: FigureProps) {
  return (
    <section className="figure panel" aria-label={name}>
      <h2>{name}</h2>
      <p className="value">{value}</p>
      {plot && <Plot {...plot} />}
      <p className="note">{children}</p>
    </section>
  );
}
