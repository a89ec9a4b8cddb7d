// What waits for a person or is wrong just now, each with the way there; nothing while all is well.
import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { answer, api } from "../api/client";
import type { Figures } from "../api/live";
import { many } from "../lib/format";

const EVERY_MS = 10_000;

export function Attention({ figures }: { figures: Figures }) {
  const alerts = useQuery({ queryKey: ["alerts"], queryFn: () => answer(api.GET("/api/alerts")), refetchInterval: EVERY_MS });
  const approvals = useQuery({ queryKey: ["approvals"], queryFn: () => answer(api.GET("/api/approvals")), refetchInterval: EVERY_MS });
  const runs = useQuery({
    queryKey: ["runbook-runs"],
    queryFn: () => answer(api.GET("/api/runbook-runs", { params: { query: { limit: 20 } } })),
    refetchInterval: EVERY_MS,
  });
  const firing = alerts.data?.items.filter((one) => one.status === "firing" && !one.silenced_by).length ?? 0;
  const asked = approvals.data?.items.length ?? 0;
  const asking = runs.data?.items.filter((run) => run.status === "asking").length ?? 0;
  const letters = figures.tasks.dead_letters;
  const said = [
    { is: asked, to: "/goals", says: `${many(asked, "approval")} asked for`, asks: true },
    { is: asking, to: "/alerts", says: `${many(asking, "run-book")} waiting for a word`, asks: true },
    { is: firing, to: "/alerts", says: `${many(firing, "alert")} firing` },
    { is: figures.pools_down?.length ?? 0, to: "/fleet", says: `down: ${figures.pools_down?.join(", ")}` },
    { is: figures.quarantined ?? 0, to: "/fleet", says: `${many(figures.quarantined ?? 0, "agent")} quarantined` },
    { is: letters, to: "/queues", says: `${many(letters, "dead letter")}` },
  ].filter(({ is }) => is > 0);
  if (said.length === 0) return null;
  return (
    <ul className="attention" aria-label="What wants attention">
      {said.map(({ to, says, asks }) => (
        <li key={says}>
          <Link href={to} className={asks ? "asks" : ""}>
            {asks ? "?" : "▲"} {says}
          </Link>
        </li>
      ))}
    </ul>
  );
}
