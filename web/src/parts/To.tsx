// Links to what has a page of its own.
import type { ReactNode } from "react";
import { Link } from "wouter";
import { useMay } from "../api/session";

interface Props {
  id: string;
  /** What is read; the id, where nothing else is given. */
  children?: ReactNode;
  title?: string;
}

export const goalAt = (id: string) => `/goals/${encodeURIComponent(id)}`;
export const taskAt = (id: string) => `/tasks/${encodeURIComponent(id)}`;
export const agentAt = (id: string) => `/agents/${encodeURIComponent(id)}`;

const to = (address: (id: string) => string) =>
  function To({ id, children = id, title }: Props) {
    return (
      <Link href={address(id)} title={title}>
        {children}
      </Link>
    );
  };

export const ToGoal = to(goalAt);
export const ToTask = to(taskAt);
const ToItsAgent = to(agentAt);

/** Who may not look at agents reads which it was. */
export const ToAgent = (props: Props) => (useMay().fleet ? <ToItsAgent {...props} /> : <>{props.children ?? props.id}</>);
