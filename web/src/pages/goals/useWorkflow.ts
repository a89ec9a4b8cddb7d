// One workflow, live: looked at once, then followed by its events from there on, so that nothing falls between.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { answer, api } from "../../api/client";
import { lost, useLink } from "../../api/link";
import { type Detail, type Event, fold } from "./fold";

/** Events are taken together so often: a burst of thousands is a few drawings. */
const TOGETHER_MS = 250;
/** After new tasks came, the workflow is looked at again for what events don't tell: what tasks need, what it costs. */
const LOOK_AGAIN_MS = 2_000;
const TERMINAL = ["succeeded", "failed", "cancelled"];

export function useWorkflow(id: string) {
  const client = useQueryClient();
  const query = useQuery({
    queryKey: ["workflow", id],
    queryFn: () => answer(api.GET("/api/workflows/{workflow_id}", { params: { path: { workflow_id: id } } })),
    staleTime: LOOK_AGAIN_MS,
  });
  const { turn } = useLink();
  const open = query.data !== undefined && !TERMINAL.includes(query.data.state);

  useEffect(() => {
    if (!open) return;
    const from = client.getQueryData<Detail>(["workflow", id])!.last_event_id;
    const source = new EventSource(`/api/workflows/${encodeURIComponent(id)}/events?after=${from}`);
    let waiting: Event[] = [];
    let flush = 0;
    let look = 0;
    const lookNow = () => void client.invalidateQueries({ queryKey: ["workflow", id] });
    const lookAgain = () => {
      look ||= window.setTimeout(() => {
        look = 0;
        lookNow();
      }, LOOK_AGAIN_MS);
    };
    source.addEventListener("change", (event) => {
      waiting.push(JSON.parse((event as MessageEvent<string>).data) as Event);
      flush ||= window.setTimeout(() => {
        const taken = waiting;
        waiting = [];
        flush = 0;
        client.setQueryData<Detail>(["workflow", id], (detail) => detail && fold(detail, taken));
        if (taken.some((event) => TERMINAL.includes(event.workflow_state ?? ""))) lookNow(); // for its result
        else lookAgain();
      }, TOGETHER_MS);
    });
    source.addEventListener("end", () => {
      source.close();
      lookNow();
    });
    source.onerror = () => {
      void lost();
      if (source.readyState === EventSource.CLOSED) lookAgain();
    };
    return () => {
      source.close();
      window.clearTimeout(flush);
      window.clearTimeout(look);
    };
  }, [client, id, open, turn]);
  return query;
}
