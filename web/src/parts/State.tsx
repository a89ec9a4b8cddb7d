/** A state as a word with a mark of its own shape, so that colour is never all that tells it. */
const MARK: Record<string, string> = {
  idle: "○",
  working: "●",
  running: "●",
  succeeded: "✓",
  error: "✕",
  failed: "✕",
  lost: "✕",
  healing: "◐",
  cancelled: "–",
  given_back: "–",
  queued: "○",
  waiting: "◌",
  delayed: "◌",
  paused: "‖",
  suspended: "‖",
  // of alerts and run-books
  firing: "▲",
  pending: "△",
  resolved: "✓",
  asking: "?",
  // of roll-outs
  staging: "◌",
  canary: "◐",
  settling: "●",
  replacing: "●",
  withdrawing: "●",
  promoted: "✓",
  rolled_back: "✕",
};

export function State({ of }: { of: string }) {
  return (
    <span className={`state state-${of}`}>
      <span aria-hidden="true">{MARK[of] ?? "·"}</span> {of.replaceAll("_", " ")}
    </span>
  );
}
