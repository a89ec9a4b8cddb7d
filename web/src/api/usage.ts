// What the fleet takes and saves. It changes slowly, so it is asked for now and then and has no stream.
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { answer, api, type Shape } from "./client";

export type Usage = Shape["FleetUsage"];

const EVERY_MS = 5_000;
/** As many as ten minutes have looks. */
const RATES_MAX = 120;

export interface Rates {
  times: number[];
  values: number[];
}

interface Seen {
  found: Usage | undefined;
  /** Bytes a second to and from the engine between the last two looks; null before there were two. */
  network: number | null;
  /** The same of the last minutes. */
  rates: Rates;
  error: Error | null;
}

export function useUsage(): Seen {
  const { data, error } = useQuery({ queryKey: ["usage"], queryFn: () => answer(api.GET("/api/usage")), refetchInterval: EVERY_MS });
  const seen = useRef<{ at: Usage; rate: number | null }>(null);
  const rates = useRef<Rates>({ times: [], values: [] });
  if (data && seen.current?.at !== data) {
    seen.current = { at: data, rate: seen.current && rateOf(seen.current.at, data) };
    if (seen.current.rate != null) rates.current = grown(rates.current, data.at_ms / 1000, seen.current.rate);
  }
  return { found: data, network: seen.current?.rate ?? null, rates: rates.current, error };
}

const grown = ({ times, values }: Rates, at_s: number, rate: number): Rates => ({
  times: [...times.slice(1 - RATES_MAX), at_s],
  values: [...values.slice(1 - RATES_MAX), rate],
});

/** A counter that fell is of an engine that began anew. */
export function rateOf(before: Usage, now: Usage): number | null {
  const total = ({ network }: Usage) => network.received + network.sent;
  const moved = total(now) - total(before);
  return moved < 0 || now.at_ms <= before.at_ms ? null : (1000 * moved) / (now.at_ms - before.at_ms);
}
