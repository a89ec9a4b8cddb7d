// Who is held back from work, by whom and why, with the word that ends it.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../api/client";
import { Moment } from "./Moment";
import { Order } from "./Order";
import { ToAgent } from "./To";

const EVERY_MS = 5_000;
/** Of a fleet of thousands; `amas quarantine list` has all. */
const LISTED = 20;

const useQuarantine = () =>
  useQuery({ queryKey: ["quarantine"], queryFn: () => answer(api.GET("/api/quarantine")), refetchInterval: EVERY_MS }).data?.items ?? [];

/** All of them, while there are any. */
export function QuarantinedAll() {
  const found = useQuarantine();
  if (found.length === 0) return null;
  return (
    <section aria-label="Quarantined">
      <h2>Quarantined: no tasks go there</h2>
      <ul className="links">
        {found.slice(0, LISTED).map((one) => (
          <li key={one.agent_id}>
            <ToAgent id={one.agent_id} />: <Told one={one} />
          </li>
        ))}
      </ul>
      {found.length > LISTED && <p className="note">and {found.length - LISTED} more: amas quarantine list</p>}
    </section>
  );
}

/** Why this agent is, if it is. */
export function Quarantined({ id }: { id: string }) {
  const found = useQuarantine().find((one) => one.agent_id === id);
  if (!found) return null;
  return (
    <div className="refusal" role="status">
      <p>
        Quarantined, so it gets no tasks: <Told one={found} />
      </p>
      <Order
        label="Let it work again"
        needs="operate"
        changes="quarantine"
        run={() => answer(api.DELETE("/api/quarantine/{agent_id}", { params: { path: { agent_id: id } } }))}
      />
    </div>
  );
}

const Told = ({ one: { why, by, at_ms, until_ms } }: { one: Shape["QuarantineShape"] }) => (
  <>
    {why}{" "}
    <span className="note">
      (by {by}, <Moment ms={at_ms} />
      {until_ms > 0 && (
        <>
          , until <Moment ms={until_ms} />
        </>
      )}
      )
    </span>
  </>
);
