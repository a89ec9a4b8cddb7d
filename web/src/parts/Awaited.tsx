import { Refusal } from "./Failed";
import { Title } from "./Title";

/** Said where an answer takes longer than people notice; what comes sooner doesn't make it flash. */
export const Looking = () => (
  <p role="status" className="looking">
    Looking…
  </p>
);

/** What stands in the place of a page whose subject isn't known yet, or isn't there. */
export function Awaited({ name, error }: { name: string; error: Error | null }) {
  return (
    <>
      <Title>{name}</Title>
      {error ? <Refusal error={error} /> : <Looking />}
    </>
  );
}
