import { Refusal } from "./Failed";
import { Title } from "./Title";

/** What stands in the place of a page whose subject isn't known yet, or isn't there. */
export function Awaited({ name, error }: { name: string; error: Error | null }) {
  return (
    <>
      <Title>{name}</Title>
      {error ? <Refusal error={error} /> : <p role="status">Looking…</p>}
    </>
  );
}
