import { describe, expect, it } from "vitest";
import { type Bounds, type Chosen, inTheWay, joined, placed } from "./chosen";

const BOUNDS: Bounds = { file_bytes_max: 10, files_max: 3, bytes_max: 25, kept_days: 30, closed: "" };
const of = (path: string, size: number): Chosen => ({ path, file: { size, name: path } as File });
const size = (bytes: number) => `${bytes} B`;

describe("a goal's files", () => {
  it("replace those of the same path", () => {
    expect(joined([of("a", 1), of("b", 2)], [of("a", 3)]).map(({ path, file }) => [path, file.size])).toEqual([["a", 3], ["b", 2]]);
  });

  it("keep the folder that they came in together, and get one where they came alone", () => {
    expect(placed([of("shop/a.py", 1), of("shop/lib/b.py", 1)])).toEqual({ folder: "shop", before: "" });
    expect(placed([of("shop/a.py", 1), of("shops/b.py", 1)])).toEqual({ folder: "files", before: "files/" });
    expect(placed([of("shop/a.py", 1), of("shop", 1)])).toEqual({ folder: "files", before: "files/" });
  });

  it("say which bound is in the way, and what to do", () => {
    expect(inTheWay([of("a", 10), of("b", 10)], BOUNDS, size)).toBe("");
    expect(inTheWay([of("a", 11)], BOUNDS, size)).toBe("a has 11 B, more than 10 B: remove it, or name a folder");
    expect(inTheWay(["a", "b", "c"].map((path) => of(path, 9)), BOUNDS, size)).toContain("27 B are more than 25 B");
    expect(inTheWay(["a", "b", "c", "d"].map((path) => of(path, 1)), BOUNDS, size)).toContain("4 files are more than 3");
    expect(inTheWay([], { ...BOUNDS, closed: "elsewhere" }, size)).toBe("");
    expect(inTheWay([of("a", 1)], { ...BOUNDS, closed: "elsewhere" }, size)).toBe("elsewhere");
  });
});
