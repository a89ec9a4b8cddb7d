import { useInfiniteQuery } from "@tanstack/react-query";
import { answer, api, type Shape } from "../api/client";
import { useLive } from "../api/live";
import { count, many } from "../lib/format";
import { Refusal } from "../parts/Failed";
import { Moment } from "../parts/Moment";
import { Order } from "../parts/Order";
import { Share } from "../parts/Share";
import { Table } from "../parts/Table";
import { Title } from "../parts/Title";
import { ToTask } from "../parts/To";

const EVERY_MS = 5_000;

export function Queues() {
  const { figures } = useLive();
  const queued = Object.entries(figures?.tasks.queued ?? {}).sort(([, a], [, b]) => b - a);
  const summed = queued.reduce((sum, [, depth]) => sum + depth, 0);
  return (
    <>
      <Title>Queues</Title>
      {figures && <p className="note">{queued.length === 0 ? "Nothing is queued." : `${many(summed, "task")} queued in ${many(queued.length, "queue")}.`}</p>}
      {figures && queued.length > 0 && (
        <Table label="Queues" columns={["Queue", "Queued", "At most", "Full"]} figures={[1, 2, 3]}>
          {queued.map(([name, depth]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{count(depth)}</td>
              <td>{count(figures.tasks.bounds[name])}</td>
              <td>{figures.tasks.bounds[name] ? <Share of={depth / figures.tasks.bounds[name]} bound /> : ""}</td>
            </tr>
          ))}
        </Table>
      )}
      {figures && figures.tasks.delayed > 0 && (
        <p className="note">
          {count(figures.tasks.delayed)} {figures.tasks.delayed === 1 ? "task waits" : "tasks wait"} for a time of their own.
        </p>
      )}
      <DeadLetters />
    </>
  );
}

function DeadLetters() {
  const letters = useInfiniteQuery({
    queryKey: ["dead-letters"],
    queryFn: ({ pageParam }) => answer(api.GET("/api/dead-letters", { params: { query: { limit: 50, cursor: pageParam } } })),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
    refetchInterval: EVERY_MS,
  });
  const found = letters.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section>
      <h2>Dead letters, newest first</h2>
      <Refusal error={letters.error} />
      {letters.isSuccess && found.length === 0 && <p className="note">No task has failed for good.</p>}
      {found.length > 0 && (
        <Table label="Dead letters" columns={["Task", "Failed", "Capability", "Why", "What to do"]}>
          {found.map((letter) => (
            <Letter key={letter.task_id} letter={letter} />
          ))}
        </Table>
      )}
      {letters.hasNextPage && (
        <button type="button" className="quiet" onClick={() => void letters.fetchNextPage()}>
          Show older ones
        </button>
      )}
    </section>
  );
}

function Letter({ letter }: { letter: Shape["DeadLetterShape"] }) {
  const path = { params: { path: { task_id: letter.task_id } } };
  return (
    <tr>
      <th scope="row">
        <ToTask id={letter.task_id}>{letter.title || letter.key || letter.task_id}</ToTask>
      </th>
      <td>
        <Moment ms={letter.at_ms} />
      </td>
      <td>{letter.capability}</td>
      <td>{letter.failure?.message}</td>
      <td>
        <div className="orders">
          <Order label="Put back" changes="dead-letters" run={() => answer(api.POST("/api/dead-letters/{task_id}/retry", path))} />
          <Order
            label="Discard"
            changes="dead-letters"
            confirm="Discard it? It stays failed."
            run={() => answer(api.POST("/api/dead-letters/{task_id}/discard", path))}
          />
        </div>
      </td>
    </tr>
  );
}
