// Figures as people read them. Nothing known is an en dash, never a zero. Numbers are written here and not by Intl, whose first
// use loads its tables: that took longer than all else that the first view does.
const UNKNOWN = "–";

type Known = number | null | undefined;

const grouped = (digits: string) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");

const plain = (value: number) => grouped(value.toFixed(0));

/** Three digits that count. */
const fine = (value: number) => String(Number(value.toPrecision(3)));

export const count = (value: Known) => (value == null ? UNKNOWN : plain(value));

/** So many of something whose plural takes an s. */
export const many = (value: Known, of: string) => `${count(value)} ${value === 1 ? of : `${of}s`}`;

export const rate = (value: Known) => (value == null ? UNKNOWN : value >= 100 ? plain(value) : fine(value));

const SHARE_MIN = 0.0005;

/** Less than a tenth of a percent is little, but not nothing. */
export function share(value: Known): string {
  if (value == null) return UNKNOWN;
  return value > 0 && value < SHARE_MIN ? "<0.1%" : `${Number((100 * value).toFixed(1))}%`;
}

export function dollars(value: Known): string {
  if (value == null) return UNKNOWN;
  if (value === 0) return "$0";
  const [whole, cents] = value.toFixed(2).split(".") as [string, string];
  return value < 0.01 ? `$${value.toPrecision(2)}` : `$${grouped(whole)}.${cents}`;
}

export function bytes(value: Known): string {
  if (value == null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; value >= 1000 && at < units.length - 1; at++) value /= 1024;
  return `${fine(value)} ${units[at]}`;
}

export function seconds(value: Known): string {
  if (value == null) return UNKNOWN;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${fine(value)} s`;
  if (value < 3600) return both(Math.floor(value / 60), "min", Math.floor(value % 60), "s");
  return value < 86_400 ? both(Math.floor(value / 3600), "h", Math.floor((value % 3600) / 60), "min") : `${Math.floor(value / 86_400)} d`;
}

const both = (large: number, unit: string, small: number, part: string) => `${large} ${unit}${small ? ` ${small} ${part}` : ""}`;

let clock: Intl.DateTimeFormat | null = null;
let calendar: Intl.DateTimeFormat | null = null;

export function moment(ms: number): string {
  if (!ms) return UNKNOWN;
  const then = new Date(ms);
  clock ??= new Intl.DateTimeFormat([], { timeStyle: "medium" });
  calendar ??= new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });
  return (then.toDateString() === new Date().toDateString() ? clock : calendar).format(then);
}
