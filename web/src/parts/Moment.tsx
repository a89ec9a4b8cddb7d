import { moment } from "../lib/format";

/** When something was: the time of day, or the date before today; a pointer on it says both. */
export function Moment({ ms }: { ms: number }) {
  if (!ms) return moment(ms);
  const then = new Date(ms);
  return (
    <time dateTime={then.toISOString()} title={then.toLocaleString()}>
      {moment(ms)}
    </time>
  );
}
