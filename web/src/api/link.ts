// Whether the control plane answers. Whoever meets silence says `lost`; then it is asked until it answers, and all that the page
// shows is looked up anew at once: streams begin again without a pause of their own, and lookups that wait go on. What the browser
// says of its network doesn't count: the control plane may be on this machine, or away while the network is well.
import { onlineManager } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";

interface Link {
  /** Since when it hasn't answered, in ms of this machine's clock; null while it does. */
  away_ms: number | null;
  /** How often it came back: streams of an earlier turn are begun anew. */
  turn: number;
}

/** Between two questions, give or take half: a thousand pages don't come back in one moment. */
const EVERY_MS = 700;
/** One that is starting takes connections before it answers them. */
const PATIENCE_MS = 5_000;

let link: Link = { away_ms: null, turn: 0 };
let asking = false;
let wake = () => {};
const listeners = new Set<() => void>();

function become(next: Link) {
  link = next;
  for (const tell of [...listeners]) tell();
}

async function answers(): Promise<boolean> {
  try {
    return (await fetch("/health", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) })).ok;
  } catch {
    return false;
  }
}

const pause = () =>
  new Promise<void>((done) => {
    wake = done;
    window.setTimeout(done, EVERY_MS * (0.5 + Math.random()));
  });

/** Somebody got no answer: find out whether there is nobody there, and if so, when there is again. */
export async function lost() {
  if (asking) return;
  asking = true;
  const since_ms = Date.now();
  while (!(await answers())) {
    if (link.away_ms === null) {
      become({ ...link, away_ms: since_ms });
      onlineManager.setOnline(false);
    }
    await pause();
  }
  asking = false;
  if (link.away_ms === null) return; // one connection broke, and no more
  become({ away_ms: null, turn: link.turn + 1 });
  onlineManager.setOnline(true);
}

onlineManager.setEventListener(() => () => {});
window.addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => wake());

/** Hear of each change; what is returned ends that. */
export function onLink(tell: () => void) {
  listeners.add(tell);
  return () => void listeners.delete(tell);
}

export const linked = (): Link => link;
export const useLink = (): Link => useSyncExternalStore(onLink, linked);
