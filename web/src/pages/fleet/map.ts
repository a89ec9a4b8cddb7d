// The fleet's map: what the server sends (`server/fleet_map.py` has the format), where each agent's dot lies, and which dot is
// where. Pure; the drawing is in paint.ts.
export interface Pool {
  name: string;
  title: string;
  family: string;
  layer: string;
  /** Ranges of numbers, both ends included. */
  spans: [number, number][];
  /** Where its first agent is among all. */
  from: number;
  agents: number;
}

export interface FleetMap {
  /** The same object for as long as the fleet has the same pools: a layout may be kept by it. */
  pools: Pool[];
  /** What the pools were read from. */
  head: string;
  /** One byte an agent: its place in STATUSES. */
  codes: Uint8Array;
}

export const STATUSES = ["idle", "working", "error", "healing"] as const;

export function decode(buffer: ArrayBuffer, before?: FleetMap): FleetMap {
  const length = new DataView(buffer).getUint32(0, true);
  const head = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return { head, pools: head === before?.head ? before.pools : poolsOf(head), codes: new Uint8Array(buffer, 4 + length) };
}

function poolsOf(head: string): Pool[] {
  let from = 0;
  return (JSON.parse(head) as { pools: Pool[] }).pools.map((pool) => {
    const agents = pool.spans.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    const placed = { ...pool, from, agents };
    from += agents;
    return placed;
  });
}

/** The id of the agent that is `at` among all. */
export function agentAt(pools: Pool[], at: number): string | null {
  const pool = pools.find((one) => at >= one.from && at < one.from + one.agents);
  if (!pool) return null;
  let left = at - pool.from;
  for (const [first, last] of pool.spans) {
    if (left <= last - first) return `${pool.name}-${first + left}`;
    left -= last - first + 1;
  }
  return null;
}

/** Where an agent is among all, by its id; -1 for none. */
export function placeOf(pools: Pool[], id: string): number {
  const cut = id.lastIndexOf("-");
  const pool = pools.find((one) => one.name === id.slice(0, cut));
  const number = Number(id.slice(cut + 1));
  let at = pool?.from ?? 0;
  for (const [first, last] of pool?.spans ?? []) {
    if (number >= first && number <= last) return at + number - first;
    at += last - first + 1;
  }
  return -1;
}

export function tally(codes: Uint8Array): number[] {
  const counts = STATUSES.map(() => 0);
  for (const code of codes) counts[code]!++;
  return counts;
}

/** The next agent of a status after one, from the first on again behind the last; -1 for none. */
export function nextWith(codes: Uint8Array, code: number, after: number): number {
  const behind = codes.indexOf(code, after + 1);
  return behind >= 0 ? behind : codes.indexOf(code);
}

export interface Block {
  pool: Pool;
  /** Pixels, of its label; the dots begin LABEL below. */
  x: number;
  y: number;
  width: number;
  columns: number;
}

export interface Section {
  family: string;
  /** Of all its pools. */
  agents: number;
  y: number;
}

export interface Layout {
  cell: number;
  height: number;
  sections: Section[];
  blocks: Block[];
}

export const LABEL = 18;
const HEADING = 30;
const GAP = 14;
const LABEL_WIDTH = 120;
const HIGHER = 1.4;
const CELLS = [16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3];
const LAYERS = ["executive", "management", "specialist", "execution"];
const rank = ([pool]: Pool[]) => LAYERS.indexOf(pool?.layer ?? "");

function byFamily(pools: Pool[]): Map<string, Pool[]> {
  const families = new Map<string, Pool[]>();
  for (const pool of pools) {
    const family = pool.family || pool.layer;
    families.set(family, [...(families.get(family) ?? []), pool]);
  }
  return new Map([...families].sort(([, a], [, b]) => rank(a) - rank(b)));
}

/**
 * Families below each other, the pools of each beside each other; cells as large as fit the height. Where none do, as large as make
 * it little higher than the smallest would: on a phone it is the labels that take the height.
 */
export function lay(pools: Pool[], width: number, height: number): Layout {
  const families = byFamily(pools);
  const smallest = layWith(families, width, CELLS.at(-1)!);
  const most = Math.max(height, smallest.height * HIGHER);
  for (const cell of CELLS) {
    const made = layWith(families, width, cell);
    if (made.height <= most) return made;
  }
  return smallest;
}

function layWith(families: Map<string, Pool[]>, width: number, cell: number): Layout {
  const sections: Section[] = [];
  const blocks: Block[] = [];
  let y = 0;
  for (const [family, members] of families) {
    sections.push({ family, agents: members.reduce((sum, pool) => sum + pool.agents, 0), y });
    y += HEADING;
    const rows = rowsOf(members, width, cell);
    let x = 0;
    let tallest = 0;
    for (const pool of members) {
      const own = Math.min(widthOf(pool, rows, cell), width);
      if (x > 0 && x + own > width) {
        x = 0;
        y += tallest + GAP;
        tallest = 0;
      }
      const columns = Math.floor(own / cell);
      blocks.push({ pool, x, y, width: own, columns });
      tallest = Math.max(tallest, LABEL + Math.ceil(pool.agents / columns) * cell);
      x += own + GAP;
    }
    y += tallest + GAP;
  }
  return { cell, height: y, sections, blocks };
}

const widthOf = (pool: Pool, rows: number, cell: number) => Math.max(Math.ceil(pool.agents / rows) * cell, LABEL_WIDTH);

/** How many rows let a family's pools stand in one line; where their labels alone are wider, as many as make a line of the largest. */
function rowsOf(pools: Pool[], width: number, cell: number): number {
  const room = width - GAP * (pools.length - 1);
  const largest = Math.max(...pools.map((pool) => pool.agents));
  const inLine = pools.length * LABEL_WIDTH <= room;
  const fits = (rows: number) =>
    inLine ? pools.reduce((sum, pool) => sum + widthOf(pool, rows, cell), 0) <= room : Math.ceil(largest / rows) * cell <= width;
  let rows = 1;
  while (rows < largest && !fits(rows)) rows++;
  return rows;
}

/** Which agent's dot is at a point; -1 for none. */
export function hit(layout: Layout, x: number, y: number): number {
  for (const { pool, ...block } of layout.blocks) {
    const column = Math.floor((x - block.x) / layout.cell);
    const row = Math.floor((y - block.y - LABEL) / layout.cell);
    if (column < 0 || row < 0 || column >= block.columns) continue;
    const at = row * block.columns + column;
    if (at < pool.agents) return pool.from + at;
  }
  return -1;
}

export interface Spot {
  x: number;
  y: number;
  block: Block;
}

/** The corner of an agent's cell. */
export function spot(layout: Layout, at: number): Spot | null {
  const block = layout.blocks.find(({ pool }) => at >= pool.from && at < pool.from + pool.agents);
  if (!block) return null;
  const own = at - block.pool.from;
  return {
    x: block.x + (own % block.columns) * layout.cell,
    y: block.y + LABEL + Math.floor(own / block.columns) * layout.cell,
    block,
  };
}

/** The agent that a key goes to from another: arrows within its pool, Page Up and Page Down from pool to pool. */
export function step(layout: Layout, at: number, key: string): number {
  const here = layout.blocks.findIndex(({ pool }) => at >= pool.from && at < pool.from + pool.agents);
  const block = layout.blocks[here];
  if (!block) return layout.blocks[0]?.pool.from ?? at;
  const { from, agents } = block.pool;
  const within: Record<string, number> = {
    ArrowLeft: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at - block.columns,
    ArrowDown: at + block.columns,
    Home: from,
    End: from + agents - 1,
  };
  const to = within[key];
  if (to !== undefined) return to >= from && to < from + agents ? to : at;
  const next = layout.blocks[here + (key === "PageDown" ? 1 : key === "PageUp" ? -1 : 0)];
  return next && next !== block ? next.pool.from : at;
}
