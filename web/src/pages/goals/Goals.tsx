import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { answer, api, type Shape } from "../../api/client";
import { count, moment, seconds, share } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { State } from "../../parts/State";
import { Table } from "../../parts/Table";
import { goalText } from "./goalText";

const EVERY_MS = 3_000;

export function Goals() {
  const list = useInfiniteQuery({
    queryKey: ["workflows"],
    queryFn: ({ pageParam }) => answer(api.GET("/api/workflows", { params: { query: { limit: 50, cursor: pageParam } } })),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
    refetchInterval: EVERY_MS,
  });
  const found = list.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <h1>Goals</h1>
      <Submit />
      <h2>Goals and flows, newest first</h2>
      <Refusal error={list.error} />
      {list.isSuccess && found.length === 0 && <p className="note">None yet.</p>}
      {found.length > 0 && <Listed workflows={found} />}
      {list.hasNextPage && (
        <button type="button" className="quiet" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          Show older ones
        </button>
      )}
    </>
  );
}

function Submit() {
  const navigate = useNavigate();
  const client = useQueryClient();
  const submit = useMutation({
    mutationFn: (body: Shape["NewGoal"]) => answer(api.POST("/api/goals", { body })),
    onSuccess: ({ workflow_id }) => {
      void client.invalidateQueries({ queryKey: ["workflows"] });
      void navigate({ to: "/goals/$id", params: { id: workflow_id } });
    },
  });
  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    submit.mutate({
      text: String(given.get("text")),
      input_dir: String(given.get("input_dir")).trim(),
      priority: Number(given.get("priority")) as 0 | 1 | 2 | 3,
    });
  }
  return (
    <form className="panel stack" onSubmit={send}>
      <label>
        What is wanted
        <textarea name="text" rows={2} required maxLength={20_000} placeholder="Review the code, run the tests and write a report" />
      </label>
      <div className="row fields">
        <label>
          Input folder, on the fleet's machine
          <input name="input_dir" placeholder="/srv/project" />
        </label>
        <label>
          Priority
          <select name="priority" defaultValue="1">
            <option value="0">low</option>
            <option value="1">normal</option>
            <option value="2">high</option>
            <option value="3">critical</option>
          </select>
        </label>
      </div>
      <button type="submit" disabled={submit.isPending}>
        Submit the goal
      </button>
      <Refusal error={submit.error} />
    </form>
  );
}

function Listed({ workflows }: { workflows: Shape["WorkflowShape"][] }) {
  return (
    <Table label="Goals and flows" columns={["Goal", "State", "Done", "Tasks", "Began", "Took"]}>
          {workflows.map((one) => (
            <tr key={one.id}>
              <th scope="row">
                <Link to="/goals/$id" params={{ id: one.id }}>
                  {goalText(one)}
                </Link>
              </th>
              <td>
                <State of={one.state} />
              </td>
              <td>{share(one.progress)}</td>
              <td>{count(Object.values(one.counts).reduce((sum, of) => sum + of, 0))}</td>
              <td>{moment(one.created_ms)}</td>
              <td>{seconds(one.seconds)}</td>
            </tr>
          ))}
    </Table>
  );
}
