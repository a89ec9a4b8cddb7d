// The fleet's figures as they change, and the last minutes of them for plots. One stream for the whole page, closed when no
// part of it looks. Where there is no stream, the figures are asked for every two seconds.
import { useSyncExternalStore } from "react";
import { answer, api, type Shape } from "./client";
import { linked, lost, onLink } from "./link";
import { cores, kept, type Said } from "./cores";

export type Figures = Shape["FleetFigures"];

export interface Sample {
  at_s: number;
  working: number;
  queued: number;
  success: number | null;
  tasks_per_second: number | null;
  response_s: number | null;
  /** Cores in use by all hosts, over the last seconds. */
  cpu: number | null;
  rss_bytes: number;
}

export interface Live {
  figures: Figures | null;
  samples: readonly Sample[];
  /** Why there is nothing new, "" while there is. */
  trouble: string;
}

/** Ten minutes at a sample a second: a page that is open all day holds no more. */
export const SAMPLES_MAX = 600;
const POLL_MS = 2_000;

let live: Live = { figures: null, samples: [], trouble: "" };
let said: readonly Said[] = [];
const listeners = new Set<() => void>();
let close: (() => void) | null = null;

let frame = 0;

function tellAll() {
  frame = 0;
  for (const tell of listeners) tell();
}

/** What comes first is shown at once, and the rest with the window's next frame: a burst costs one drawing, a hidden window none. */
function publish(change: Partial<Live>) {
  const first = live.figures === null;
  live = { ...live, ...change };
  if (first) tellAll();
  else frame ||= requestAnimationFrame(tellAll);
}

export function take(figures: Figures, at_s = Date.now() / 1000) {
  said = kept(said, { at_s, hosts: new Map(figures.hosts.map((host) => [host.id, host.cpu_s])) });
  const sample: Sample = {
    at_s,
    working: figures.agents.working,
    queued: Object.values(figures.tasks.queued).reduce((sum, of) => sum + of, 0),
    success: figures.success_rate,
    tasks_per_second: figures.tasks_per_second,
    response_s: figures.average_response_s,
    cpu: cores(said),
    rss_bytes: figures.hosts.reduce((sum, host) => sum + host.rss_bytes, 0),
  };
  publish({ figures, samples: [...live.samples.slice(1 - SAMPLES_MAX), sample], trouble: "" });
}

function poll(): () => void {
  let stopped = false;
  let timer = 0;
  async function look() {
    try {
      take(await answer(api.GET("/api/metrics")));
    } catch (error) {
      publish({ trouble: (error as Error).message });
    }
    if (!stopped) timer = window.setTimeout(look, POLL_MS);
  }
  void look();
  return () => {
    stopped = true;
    window.clearTimeout(timer);
  };
}

/** The overview's document asks for them before its script is there; the stream can only begin after it. */
async function first() {
  try {
    const figures = await answer(api.GET("/api/metrics"));
    if (!live.figures) take(figures);
  } catch {
    // the stream tells what is wrong
  }
}

function stream(): () => void {
  let stop = () => source.close();
  const source = new EventSource("/api/live");
  source.addEventListener("figures", (event) => take(JSON.parse((event as MessageEvent<string>).data)));
  source.addEventListener("away", (event) => publish({ trouble: JSON.parse((event as MessageEvent<string>).data).detail }));
  source.onerror = () => {
    void lost();
    if (source.readyState === EventSource.CLOSED) stop = poll(); // refused, not interrupted: the browser won't try again
    else publish({ trouble: "the live figures are interrupted: connecting again" });
  };
  return () => stop();
}

/** A control plane that comes back is followed at once, not when the browser next tries. */
function open(): () => void {
  if (!live.figures) void first();
  let stop = stream();
  let { turn } = linked();
  const forget = onLink(() => {
    if (turn === linked().turn) return;
    ({ turn } = linked());
    stop();
    stop = stream();
  });
  return () => {
    forget();
    stop();
  };
}

function listen(tell: () => void) {
  listeners.add(tell);
  close ??= open();
  return () => {
    listeners.delete(tell);
    if (listeners.size === 0) {
      close?.();
      close = null;
    }
  };
}

export const useLive = (): Live => useSyncExternalStore(listen, () => live);
