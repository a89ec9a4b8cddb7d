// Figures as people read them. Nothing known is an en dash, never a zero.
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const UNKNOWN = "–";

type Known = number | null | undefined;

export const count = (value: Known) => (value == null ? UNKNOWN : plain.format(value));

export const rate = (value: Known) => (value == null ? UNKNOWN : value >= 100 ? plain.format(value) : fine.format(value));

export const share = (value: Known) => (value == null ? UNKNOWN : percent.format(value));

export function dollars(value: Known): string {
  if (value == null) return UNKNOWN;
  if (value === 0) return "$0";
  return value < 0.01 ? `$${value.toPrecision(2)}` : `$${new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(value)}`;
}

export function bytes(value: Known): string {
  if (value == null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; value >= 1000 && at < units.length - 1; at++) value /= 1024;
  return `${fine.format(value)} ${units[at]}`;
}

export function seconds(value: Known): string {
  if (value == null) return UNKNOWN;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${fine.format(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  return value < 86_400 ? `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min` : `${Math.floor(value / 86_400)} d`;
}

export function moment(ms: number): string {
  if (!ms) return UNKNOWN;
  const then = new Date(ms);
  const today = then.toDateString() === new Date().toDateString();
  return then.toLocaleString([], today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
}
