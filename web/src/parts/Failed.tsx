import { Component, type ReactNode } from "react";
import { Title } from "./Title";

/** One sentence on what went wrong, read out when it appears; nothing while all is well. */
export function Refusal({ error }: { error: Error | null }) {
  if (!error) return null;
  return (
    <div role="alert" className="refusal">
      {error.message}
    </div>
  );
}

/** What stands in a page's place when its script fails or doesn't come. */
export class Caught extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <section>
        <Title>This page can't be shown</Title>
        <Refusal error={this.state.error} />
        <button type="button" className="quiet" onClick={() => window.location.reload()}>
          Load it again
        </button>
      </section>
    );
  }
}

export function Lost() {
  return (
    <section>
      <Title>There is no such page</Title>
      <p>The address may be of an older version of amas.</p>
    </section>
  );
}
