import { useQuery, useQueryClient } from "@tanstack/react-query";
import { asked } from "../../api/client";
import { decode, type FleetMap } from "./map";

/** Hosts beat every two seconds: to ask more often shows nothing new. An answer that hasn't changed is a 304 without a body. */
const EVERY_MS = 2_000;
const KEY = ["fleet", "map"];

interface Seen extends FleetMap {
  etag: string | null;
}

export function useFleetMap() {
  const client = useQueryClient();
  return useQuery({
    queryKey: KEY,
    refetchInterval: EVERY_MS,
    structuralSharing: false,
    queryFn: async (): Promise<Seen> => {
      const response = await asked("/api/fleet/map");
      const before = client.getQueryData<Seen>(KEY);
      const etag = response.headers.get("etag");
      if (before && etag && etag === before.etag) return before; // the same object: nothing is drawn again
      return { ...decode(await response.arrayBuffer(), before), etag };
    },
  });
}
