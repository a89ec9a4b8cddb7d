import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { count } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { State } from "../../parts/State";
import { FleetCanvas } from "./FleetCanvas";
import { placeOf, STATUSES, tally } from "./map";
import { useFleetMap } from "./useFleetMap";

export function Fleet() {
  const { data: map, error } = useFleetMap();
  const navigate = useNavigate();
  const [search, setSearch] = useState("");
  const counts = useMemo(() => map && tally(map.codes), [map]);
  const wanted = search.trim().toLowerCase();
  const found = map && wanted ? placeOf(map.pools, wanted) : -1;
  const open = (id: string) => void navigate({ to: "/agents/$id", params: { id } });
  return (
    <>
      <h1>Fleet</h1>
      <form
        role="search"
        className="row tools"
        onSubmit={(event) => {
          event.preventDefault();
          if (found >= 0) open(wanted);
        }}
      >
        <input
          type="search"
          aria-label="Find a pool or an agent"
          placeholder="Find a pool, or an agent such as code-reviewer-1"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
        <ul className="legend" aria-label="Agents by status">
          {STATUSES.map((status, code) => (
            <li key={status}>
              <State of={status} /> {count(counts?.[code])}
            </li>
          ))}
        </ul>
      </form>
      <Refusal error={error} />
      {map && <FleetCanvas map={map} search={wanted} found={found} open={open} />}
    </>
  );
}
