// How many cores the hosts use, from what each says it has used so far. Pure.

/** Hosts say so often what they used, each at a time of its own: from one look to the next that would be a saw. */
const BEAT_S = 2;
const OVER_S = 10;
/** Looks that are closer tell nothing new, and a burst of them mustn't be kept. */
const APART_S = 0.5;

export interface Said {
  at_s: number;
  /** Seconds of CPU that each host has used since it began. */
  hosts: Map<string, number>;
}

/** What is kept of the looks so far: as many as it takes to look back `OVER_S`. */
export function kept(said: readonly Said[], now: Said): readonly Said[] {
  if (now.at_s - (said.at(-1)?.at_s ?? -Infinity) < APART_S) return said;
  const all = [...said, now];
  return all.slice(Math.max(0, all.findLastIndex((one) => now.at_s - one.at_s >= OVER_S)));
}

/** Cores in use from the first of these looks to the last, by hosts that were there at both; null where they can't have said so twice. */
export function cores(said: readonly Said[]): number | null {
  const [first, last] = [said[0], said.at(-1)];
  if (!first || !last || last.at_s - first.at_s < BEAT_S) return null;
  const used = [...last.hosts].reduce((sum, [id, cpu_s]) => sum + Math.max(0, cpu_s - (first.hosts.get(id) ?? cpu_s)), 0);
  return used / (last.at_s - first.at_s);
}
