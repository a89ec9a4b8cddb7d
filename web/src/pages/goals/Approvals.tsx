import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { answer, api, type Shape } from "../../api/client";
import { useBy, useMay } from "../../api/session";
import { Refusal } from "../../parts/Failed";
import type { Detail } from "./fold";

const EVERY_MS = 2_000;

/** What people are asked in this workflow, with the two answers. */
export function Approvals({ workflow }: { workflow: Detail }) {
  const open = useQuery({
    queryKey: ["approvals", workflow.id],
    queryFn: () => answer(api.GET("/api/approvals", { params: { query: { workflow_id: workflow.id } } })),
    enabled: !workflow.finished_ms,
    refetchInterval: EVERY_MS,
  });
  if (workflow.finished_ms) return null;
  return (
    <>
      <Refusal error={open.error} />
      {open.data?.items.map((asked) => (
        <Ask key={asked.task_id} asked={asked} />
      ))}
    </>
  );
}

function Ask({ asked }: { asked: Shape["Approval"] }) {
  const client = useQueryClient();
  const by = useBy();
  const { work } = useMay();
  const [comment, setComment] = useState("");
  const say = useMutation({
    mutationFn: (approved: boolean) =>
      answer(api.POST("/api/approvals/{task_id}", { params: { path: { task_id: asked.task_id } }, body: { approved, comment, by } })),
    onSettled: () => client.invalidateQueries({ queryKey: ["approvals", asked.workflow_id] }),
  });
  function approve(event: FormEvent) {
    event.preventDefault();
    say.mutate(true);
  }
  return (
    <form className="panel stack asked" onSubmit={approve} aria-label={`Approval: ${asked.question || asked.key}`}>
      <h2>{asked.question || asked.key}</h2>
      {asked.about != null && <pre>{JSON.stringify(asked.about, null, 2)}</pre>}
      {!work && <p className="note">An operator answers this; you may look.</p>}
      {work && (
        <>
          <label>
            Comment
            <input value={comment} onChange={(event) => setComment(event.target.value)} />
          </label>
          <div className="row">
            <button type="submit" disabled={say.isPending}>
              Approve
            </button>
            <button type="button" className="quiet" disabled={say.isPending} onClick={() => say.mutate(false)}>
              Refuse
            </button>
          </div>
        </>
      )}
      <Refusal error={say.error} />
    </form>
  );
}
