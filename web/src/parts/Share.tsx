import { share } from "../lib/format";

interface Props {
  of: number;
  /** Whether it is bad that nearly all is taken. */
  bound?: boolean;
}

/** A share as a bar with its figure beside it; what is over the whole fills the bar. */
export function Share({ of, bound }: Props) {
  return (
    <span className="share">
      <svg aria-hidden="true" viewBox="0 0 100 8" preserveAspectRatio="none">
        <rect width="100" height="8" className="all" />
        <rect width={100 * Math.min(1, Math.max(0, of))} height="8" className={bound && of >= 0.9 ? "most" : "part"} />
      </svg>
      <span>{share(of)}</span>
    </span>
  );
}
