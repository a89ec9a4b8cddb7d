import { describe, expect, it } from "vitest";
import { isId, madeAt, upTo } from "./made";

describe("what an id says", () => {
  it("is when it was made", () => {
    expect(new Date(madeAt("01990d3e-7a0f-7000-8000-5b7c8d9e0a6f")).toISOString()).toBe("2025-09-03T01:43:42.351Z");
    expect(madeAt("")).toBe(0);
    expect(madeAt("coder-1")).toBe(0);
  });

  it("is where a list goes on from a moment: after what was made later, before what was made until then", () => {
    const id = "01990d3e-7a0f-7abc-8def-5b7c8d9e0a6f";
    expect(id < upTo(madeAt(id))).toBe(true);
    expect(id > upTo(madeAt(id) - 1)).toBe(true);
    expect(isId(upTo(0)) && madeAt(upTo(12_345)) === 12_345).toBe(true);
  });
});
