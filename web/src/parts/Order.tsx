// A button that asks the API for a change, and says beside it what came of that.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type May, useMay } from "../api/session";
import { Refusal } from "./Failed";

interface Props {
  label: string;
  /** What it takes; it isn't there for who may not. */
  needs: keyof May;
  run: () => Promise<unknown>;
  /** What is looked at again after it: the first part of its query's key. */
  changes: string;
  /** A question that comes first, for what can't be taken back. */
  confirm?: string;
  /** Said when it is done, where nothing else shows it. */
  done?: string;
}

export function Order({ label, needs, run, changes, confirm, done }: Props) {
  const may = useMay()[needs];
  const client = useQueryClient();
  const order = useMutation({ mutationFn: run, onSettled: () => client.invalidateQueries({ queryKey: [changes] }) });
  if (!may) return null;
  return (
    <>
      <button
        type="button"
        className="quiet"
        disabled={order.isPending}
        onClick={() => {
          if (!confirm || window.confirm(confirm)) order.mutate();
        }}
      >
        {label}
      </button>
      {done && order.isSuccess && <span role="status">{done}</span>}
      <Refusal error={order.error} />
    </>
  );
}
