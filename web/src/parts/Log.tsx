// Lines of a log as text: time, level, message, and what they were logged with.
import { moment } from "../lib/format";
import { Refusal } from "./Failed";

export function Log({ lines, error, without }: { lines: Record<string, unknown>[] | undefined; error: Error | null; without: string[] }) {
  return (
    <section>
      <h2>Log</h2>
      <Refusal error={error} />
      {lines?.length ? (
        <pre className="panel" tabIndex={0} aria-label="Log">
          {lines.map((line) => text(line, without)).join("\n")}
        </pre>
      ) : (
        lines && <p className="note">No line of it is kept.</p>
      )}
    </section>
  );
}

function text(line: Record<string, unknown>, without: string[]): string {
  const { at, level, message, ...rest } = line;
  const fields = Object.entries(rest)
    .filter(([name]) => !without.includes(name))
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [moment(Date.parse(String(at))), level, message, ...fields].join("  ");
}
