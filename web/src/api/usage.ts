// What the fleet takes and saves. It changes slowly, so it is asked for now and then and has no stream.
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { answer, api, type Shape } from "./client";

export type Usage = Shape["FleetUsage"];

const EVERY_MS = 5_000;

interface Seen {
  found: Usage | undefined;
  /** Bytes a second to and from the engine between the last two looks; null before there were two. */
  network: number | null;
  error: Error | null;
}

export function useUsage(): Seen {
  const { data, error } = useQuery({ queryKey: ["usage"], queryFn: () => answer(api.GET("/api/usage")), refetchInterval: EVERY_MS });
  const seen = useRef<{ at: Usage; rate: number | null }>(null);
  if (data && seen.current?.at !== data) seen.current = { at: data, rate: seen.current && rateOf(seen.current.at, data) };
  return { found: data, network: seen.current?.rate ?? null, error };
}

/** A counter that fell is of an engine that began anew. */
export function rateOf(before: Usage, now: Usage): number | null {
  const total = ({ network }: Usage) => network.received + network.sent;
  const moved = total(now) - total(before);
  return moved < 0 || now.at_ms <= before.at_ms ? null : (1000 * moved) / (now.at_ms - before.at_ms);
}
