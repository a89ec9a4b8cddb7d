import type { ErrorComponentProps } from "@tanstack/react-router";

/** One sentence on what went wrong, read out when it appears; nothing while all is well. */
export function Refusal({ error }: { error: Error | null }) {
  if (!error) return null;
  return (
    <div role="alert" className="refusal">
      {error.message}
    </div>
  );
}

export function Failed({ error }: ErrorComponentProps) {
  return (
    <section>
      <h1>This page can't be shown</h1>
      <Refusal error={error instanceof Error ? error : new Error(String(error))} />
    </section>
  );
}

export function Lost() {
  return (
    <section>
      <h1>There is no such page</h1>
      <p>The address may be of an older version of amas.</p>
    </section>
  );
}
