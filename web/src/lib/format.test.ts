import { describe, expect, it } from "vitest";
import { bytes, count, dollars, rate, seconds, share } from "./format";

describe("figures", () => {
  it("are written as Intl writes them", () => {
    const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
    const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
    for (const value of [0, 7, 999, 1000, 29_768, 123_456, 1_000_000, 1234567890]) expect(count(value)).toBe(whole.format(value));
    for (const value of [0, 0.008, 0.5, 0.9996, 1, 12.345]) expect(share(value)).toBe(value > 10 ? "1234.5%" : percent.format(value));
    expect([0, 1e-9, 0.0004, 0.0005].map(share)).toEqual(["0%", "<0.1%", "<0.1%", "0.1%"]);
    expect([1473.4, 99.96, 0.1234, 12.34, 5].map(rate)).toEqual(["1,473", "100", "0.123", "12.3", "5"]);
  });

  it("say money in cents until it is less, and nothing known isn't nothing", () => {
    expect([0, 0.00123, 0.5, 1234.5, 1e6].map(dollars)).toEqual(["$0", "$0.0012", "$0.50", "$1,234.50", "$1,000,000.00"]);
    expect([count, rate, share, dollars, bytes, seconds].map((told) => told(null))).toEqual(["–", "–", "–", "–", "–", "–"]);
    expect([0, 0.05, 1.5, 60, 61.4, 3600, 5400, 200_000].map(seconds)).toEqual(
      ["0 ms", "50 ms", "1.5 s", "1 min", "1 min 1 s", "1 h", "1 h 30 min", "2 d"],
    );
    expect([0, 999, 1000, 136.2 * 1024 ** 2].map(bytes)).toEqual(["0 B", "999 B", "0.977 KiB", "136 MiB"]);
  });
});
