import { useQuery } from "@tanstack/react-query";
import { refusal } from "../../api/client";
import { decode } from "./map";

/** Hosts beat every two seconds: to ask more often shows nothing new. An answer that hasn't changed is a 304 without a body. */
const EVERY_MS = 2_000;

export const useFleetMap = () =>
  useQuery({
    queryKey: ["fleet", "map"],
    refetchInterval: EVERY_MS,
    structuralSharing: false,
    queryFn: async () => {
      const response = await fetch("/api/fleet/map");
      if (!response.ok) throw await refusal(response);
      return decode(await response.arrayBuffer());
    },
  });
