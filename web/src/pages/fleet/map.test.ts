import { describe, expect, it } from "vitest";
import { agentAt, decode, hit, lay, nextWith, placeOf, spot, step } from "./map";

function sent(pools: { name: string; spans: [number, number][]; family?: string }[], codes: number[]): ArrayBuffer {
  const head = new TextEncoder().encode(JSON.stringify({ pools: pools.map((pool) => ({ title: "", family: "", layer: "", ...pool })) }));
  const whole = new Uint8Array(4 + head.length + codes.length);
  new DataView(whole.buffer).setUint32(0, head.length, true);
  whole.set(head, 4);
  whole.set(codes, 4 + head.length);
  return whole.buffer;
}

const SMALL = decode(sent([{ name: "api-lead", spans: [[1, 1]] }, { name: "coder", spans: [[1, 2], [7, 9]] }], [0, 1, 0, 2, 0, 3]));
const LARGE = decode(sent(Array.from({ length: 27 }, (_, i) => ({ name: `pool-${i}`, family: `family ${i % 7}`, spans: [[1, 1111]] })), []));

describe("the map", () => {
  it("names each agent by its place and finds it by its name", () => {
    const names = [...SMALL.codes.keys()].map((at) => agentAt(SMALL.pools, at));
    expect(names).toEqual(["api-lead-1", "coder-1", "coder-2", "coder-7", "coder-8", "coder-9"]);
    expect(names.map((name) => placeOf(SMALL.pools, name!))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(["coder-3", "coder", "", "nobody-1"].map((name) => placeOf(SMALL.pools, name))).toEqual([-1, -1, -1, -1]);
  });

  it("keeps its pools while only agents change, so that their layout can be kept", () => {
    const pools = [{ name: "coder", spans: [[1, 2]] as [number, number][] }];
    const first = decode(sent(pools, [0, 0]));
    const second = decode(sent(pools, [0, 1]), first);
    expect([second.pools === first.pools, [...second.codes]]).toEqual([true, [0, 1]]);
    expect(decode(sent([{ name: "coder", spans: [[1, 3]] }], [0, 0, 0]), second).pools[0]!.agents).toBe(3);
  });

  it.each([328, 1240, 2500])("gives each of 30,000 a dot of its own within %i pixels", (width) => {
    const layout = lay(LARGE.pools, width, 600);
    const corners = new Set<string>();
    const wrong: number[] = []; // an expectation for each of 30,000 takes seconds
    for (let at = 0; at < 27 * 1111; at++) {
      const { x, y } = spot(layout, at)!;
      const inside = x + layout.cell <= width && y + layout.cell <= layout.height;
      if (!inside || hit(layout, x + layout.cell / 2, y + layout.cell / 2) !== at) wrong.push(at);
      corners.add(`${x} ${y}`);
    }
    expect(wrong).toEqual([]);
    expect(corners.size).toBe(27 * 1111);
  });

  it("keeps few agents' dots large where their labels alone are higher than the window", () => {
    const few = decode(sent(Array.from({ length: 40 }, (_, i) => ({ name: `pool-${i}`, family: "all", spans: [[1, 2]] })), []));
    const layout = lay(few.pools, 360, 640);
    expect(layout.height).toBeGreaterThan(640);
    expect(layout.cell).toBeGreaterThanOrEqual(14);
    expect(lay(LARGE.pools, 360, 640).cell).toBeLessThan(5);
  });

  it("goes from one agent of a status to the next and round again", () => {
    expect([-1, 1, 3, 5].map((after) => nextWith(SMALL.codes, 0, after))).toEqual([0, 2, 4, 0]);
    expect([nextWith(SMALL.codes, 3, 0), nextWith(SMALL.codes, 3, 5), nextWith(new Uint8Array(3), 2, 0)]).toEqual([5, 5, -1]);
  });

  it("goes by keys within a pool and from pool to pool, and stays at the edges", () => {
    const layout = lay(SMALL.pools, 400, 400);
    expect(step(layout, -1, "ArrowRight")).toBe(0);
    expect(step(layout, 0, "ArrowRight")).toBe(0);
    expect(step(layout, 0, "PageDown")).toBe(1);
    expect(step(layout, 1, "End")).toBe(5);
    expect(step(layout, 5, "PageDown")).toBe(5);
    expect(step(layout, 5, "PageUp")).toBe(0);
  });
});
