// Lines of a log as text: time, level, message, and what they were logged with.
import { Fragment } from "react";
import { moment } from "../lib/format";
import { Refusal } from "./Failed";

export function Log({ lines, error, without }: { lines: Record<string, unknown>[] | undefined; error: Error | null; without: string[] }) {
  return (
    <section>
      <h2>Log</h2>
      <Refusal error={error} />
      {lines?.length ? (
        <pre className="panel" tabIndex={0} aria-label="Log">
          {lines.map((line, at) => (
            <Fragment key={at}>
              {moment(Date.parse(String(line.at)))} <span className={`level-${line.level}`}>{String(line.level)}</span> {text(line, without)}
              {"\n"}
            </Fragment>
          ))}
        </pre>
      ) : (
        lines && <p className="note">No line of it is kept.</p>
      )}
    </section>
  );
}

function text(line: Record<string, unknown>, without: string[]): string {
  const { at: _at, level: _level, message, ...rest } = line;
  const fields = Object.entries(rest)
    .filter(([name, value]) => value !== "" && !without.includes(name))
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [message, ...fields].join("  ");
}
