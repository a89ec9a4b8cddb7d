import { lazy, Suspense, useMemo } from "react";
import { type Sample, useLive } from "../api/live";
import { useLink } from "../api/link";
import { type Usage, useUsage } from "../api/usage";
import { bytes, count, dollars, many, rate, seconds, share } from "../lib/format";
import { Refusal } from "../parts/Failed";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";
import { Attention } from "./Attention";

/** Figures don't wait for what draws them, and a line takes two of them. */
const Plot = lazy(() => import("../parts/Plot").then(({ Plot }) => ({ default: Plot })));

export function Overview() {
  const { figures, samples, trouble } = useLive();
  const { away_ms } = useLink();
  const usage = useUsage();
  const last = samples.at(-1);
  const times = useMemo(() => samples.map((sample) => sample.at_s), [samples]);
  const of = (name: keyof Sample) => ({ times, values: samples.map((sample) => sample[name]) });
  return (
    <>
      <Title>Overview</Title>
      <Refusal error={trouble && away_ms === null ? new Error(trouble) : null} />
      {figures && <Attention figures={figures} />}
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
        <Figure name="Tasks queued" value={count(figures && last?.queued)} plot={of("queued")}>
          {count(figures?.tasks.running)} running, {count(figures?.tasks.delayed)} delayed
        </Figure>
        <Figure name="Success" value={share(figures?.success_rate)} plot={of("success")}>
          {count(figures?.tasks.succeeded)} succeeded, {count(figures?.tasks.failed)} failed, {count(figures?.tasks.retried)} tried again
        </Figure>
        <Figure name="CPU of the hosts" value={last?.cpu == null ? "–" : `${last.cpu.toFixed(2)} cores`} plot={of("cpu")}>
          {many(figures?.hosts.length, "host")}, {share(figures?.utilisation)} of the slots in use
        </Figure>
        <Figure name="Memory of the hosts" value={bytes(last?.rss_bytes)} plot={of("rss_bytes")}>
          resident
        </Figure>
        <Figure name="Network of the engine" value={usage.network == null ? "–" : `${bytes(usage.network)}/s`} plot={usage.rates}>
          {bytes(usage.found?.network.received)} received, {bytes(usage.found?.network.sent)} sent since it began
        </Figure>
        <Figure name="Goals and flows open" value={count(figures?.workflows_open)}>
          {many(figures?.tasks.dead_letters, "task")} failed for good
        </Figure>
        <Figure name="Cost of the last day" value={dollars(figures?.cost?.usd_last_day)}>
          {dollars(figures?.cost?.usd_last_hour)} in the last hour, {dollars(figures?.cost?.usd_month_projected)} projected for a month
        </Figure>
        <Figure name="Saved" value={hourly(usage.found?.savings.usd_per_hour)}>
          {usage.found && optimisations(usage.found.savings)}
        </Figure>
        <Figure name="Storage" value={bytes(usage.found && summed(usage.found.storage))}>
          {usage.found && parts(usage.found.storage)}; {bytes(usage.found?.disk.free)} free
        </Figure>
      </div>
      <p className="note">Plots have up to ten minutes, from when this page was opened.</p>
      <Refusal error={usage.error} />
      {usage.found && usage.found.savings.active.length > 0 && <Optimisations of={usage.found.savings} />}
      {figures && (
        <section>
          <h2>Hosts</h2>
          <Table label="Hosts" columns={["Host", "Agents", "Running", "CPU so far", "Memory", "Loop lag"]} figures={[1, 2, 3, 4, 5]}>
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

function Optimisations({ of }: { of: Usage["savings"] }) {
  return (
    <section>
      <h2>Optimisations at work</h2>
      <Table label="Optimisations at work" columns={["What", "Saves"]} figures={[1]}>
        {of.active.map((one) => (
          <tr key={one.words}>
            <th scope="row">{one.words}</th>
            <td>{one.usd_per_hour == null ? "unknown: the fleet file doesn't say agent_usd_per_hour" : hourly(one.usd_per_hour)}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

const hourly = (usd: number | null | undefined) => (usd == null ? "–" : `${dollars(usd)} an hour`);

function optimisations({ active }: Usage["savings"]): string {
  if (active.length === 0) return "No optimisation is at work; with scaling in the fleet file, pools follow their work";
  return active.length === 1 ? "by an optimisation at work, below" : `by ${active.length} optimisations at work, below`;
}

const summed = (by: Record<string, number>) => Object.values(by).reduce((sum, of) => sum + of, 0);
const parts = (by: Record<string, number>) => Object.entries(by).map(([part, size]) => `${bytes(size)} ${part}`).join(", ");

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
      {plot && (
        <div className="plot" aria-hidden="true">
          {plot.times.length > 1 && (
            <Suspense>
              <Plot {...plot} />
            </Suspense>
          )}
        </div>
      )}
      <p className="note">{children}</p>
    </section>
  );
}
