import { describe, expect, it } from "vitest";
import { cores, kept, type Said } from "./cores";

const said = (at_s: number, ...used: number[]): Said => ({ at_s, hosts: new Map(used.map((cpu_s, host) => [`host-${host}`, cpu_s])) });
const after = (...looks: Said[]) => looks.reduce<readonly Said[]>(kept, []);

describe("cores in use", () => {
  it("is of the last seconds, not of the last look, and knows nothing before hosts can have said it twice", () => {
    expect(cores(after(said(0, 5)))).toBeNull();
    expect(cores(after(said(0, 5), said(1, 5)))).toBeNull();
    expect(cores(after(said(0, 5, 1), said(2, 7, 1)))).toBe(1);
    const saw = Array.from({ length: 31 }, (_, at) => said(at, 2 * Math.floor(at / 2))); // a core in use, told every other look
    expect(cores(after(...saw))).toBe(1);
  });

  it("keeps what it takes to look back, also over a silence", () => {
    expect(after(...Array.from({ length: 100 }, (_, at) => said(at, at))).map(({ at_s }) => at_s)).toEqual([89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
    expect(cores(after(said(0, 0), said(1, 1), said(61, 1)))).toBe(0);
    expect(after(...Array.from({ length: 1000 }, (_, at) => said(at / 1000, at)))).toHaveLength(2);
  });

  it("counts nothing for a host that came or began anew", () => {
    expect(cores(after(said(0, 50), said(4, 2, 80)))).toBe(0);
  });
});
