// The files that a goal is to come with, as they were chosen, and whether they may be sent. Pure.
export interface Bounds {
  file_bytes_max: number;
  files_max: number;
  bytes_max: number;
  kept_days: number;
  /** Why nothing may be sent at all; empty: it may. */
  closed: string;
}

export interface Chosen {
  /** Below the goal's folder. */
  path: string;
  file: File;
}

/** Add files to those that were chosen; one of the same path takes the other's place. */
export function joined(before: Chosen[], more: Chosen[]): Chosen[] {
  return [...new Map([...before, ...more].map((one) => [one.path, one])).values()];
}

/** What is in the way of sending these, in a sentence; empty for nothing. */
export function inTheWay(chosen: Chosen[], bounds: Bounds, size: (bytes: number) => string): string {
  if (chosen.length === 0) return "";
  if (bounds.closed) return bounds.closed;
  const large = chosen.find(({ file }) => file.size > bounds.file_bytes_max);
  if (large) return `${large.path} has ${size(large.file.size)}, more than ${size(bounds.file_bytes_max)}: remove it, or name a folder`;
  if (chosen.length > bounds.files_max) return `${chosen.length} files are more than ${bounds.files_max}: remove some, or name a folder`;
  const whole = total(chosen);
  return whole > bounds.bytes_max ? `${size(whole)} are more than ${size(bounds.bytes_max)}: remove some files, or name a folder` : "";
}

/**
 * Where they are sent to: the folder, below the one that is made for them, that the goal is about, and what stands before each path.
 * Reports are called by that folder: the one that all of them came in, or `LOOSE`.
 */
export function placed(chosen: Chosen[]): { folder: string; before: string } {
  const folder = chosen[0]?.path.split("/")[0] ?? "";
  const together = chosen.every(({ path }) => path.startsWith(`${folder}/`));
  return together ? { folder, before: "" } : { folder: LOOSE, before: `${LOOSE}/` };
}

const LOOSE = "files";

export const total = (chosen: Chosen[]) => chosen.reduce((sum, { file }) => sum + file.size, 0);

export const chosenOf = (files: Iterable<File>): Chosen[] => [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
