import { useMemo, useState } from "react";
import { useLocation } from "wouter";
import { count } from "../../lib/format";
import { Looking } from "../../parts/Awaited";
import { Refusal } from "../../parts/Failed";
import { QuarantinedAll } from "../../parts/Quarantined";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { agentAt } from "../../parts/To";
import { FleetCanvas, NOWHERE } from "./FleetCanvas";
import { nextWith, placeOf, STATUSES, tally } from "./map";
import { useFleetMap } from "./useFleetMap";

export function Fleet() {
  const { data: map, error } = useFleetMap();
  const [, navigate] = useLocation();
  const [search, setSearch] = useState("");
  const [place, setPlace] = useState(NOWHERE);
  const counts = useMemo(() => map && tally(map.codes), [map]);
  const wanted = search.trim().toLowerCase();
  const found = map && wanted ? placeOf(map.pools, wanted) : -1;
  const open = (id: string) => navigate(agentAt(id));
  return (
    <>
      <Title>Fleet</Title>
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
          placeholder="A pool, or an agent such as coder-1"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
        <ul className="legend" aria-label="Agents by status">
          {STATUSES.map((status, code) => (
            <li key={status}>
              <button
                type="button"
                className="plain"
                title={`Go to the next one: ${status}`}
                disabled={!counts?.[code]}
                onClick={() => map && setPlace({ at: nextWith(map.codes, code, place.at), pointed: false })}
              >
                <State of={status} /> {count(counts?.[code])}
              </button>
            </li>
          ))}
        </ul>
      </form>
      <Refusal error={error} />
      {!map && !error && <Looking />}
      <QuarantinedAll />
      {map && <FleetCanvas map={map} search={wanted} found={found} place={place} setPlace={setPlace} open={open} />}
    </>
  );
}
