import { useInfiniteQuery } from "@tanstack/react-query";
import { useSearchParams } from "wouter";
import { answer, api } from "../api/client";
import { Refusal } from "../parts/Failed";
import { TaskTable } from "../parts/TaskTable";
import { Title } from "../parts/Title";

const EVERY_MS = 3_000;
const STATES = ["running", "queued", "waiting", "delayed", "succeeded", "failed", "cancelled"] as const;
type State = (typeof STATES)[number];

/** All tasks, newest first, or those in a state, which the address names, so that a link to them can be kept. */
export function Tasks() {
  const [search, setSearch] = useSearchParams();
  const state = STATES.find((one) => one === search.get("state"));
  const list = useInfiniteQuery({
    queryKey: ["tasks", "in", state],
    queryFn: ({ pageParam }) => answer(api.GET("/api/tasks", { params: { query: { state, limit: 50, cursor: pageParam } } })),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
    refetchInterval: EVERY_MS,
  });
  const found = list.data?.pages.flatMap((page) => page.items);
  const choose = (chosen: State | undefined) => setSearch(chosen ? { state: chosen } : {}, { replace: true });
  return (
    <>
      <Title>Tasks</Title>
      <div className="row" role="group" aria-label="In which state">
        {([undefined, ...STATES] as const).map((one) => (
          <button key={one ?? "all"} type="button" className="quiet" aria-pressed={one === state} onClick={() => choose(one)}>
            {one ?? "all"}
          </button>
        ))}
      </div>
      <Refusal error={list.error} />
      {found && <TaskTable tasks={found} whose none={state ? `No task is ${state}.` : "None yet: amas submit, a goal or a program makes some."} />}
      {list.hasNextPage && (
        <button type="button" className="quiet" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          Show older ones
        </button>
      )}
    </>
  );
}
