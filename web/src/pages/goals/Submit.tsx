// A new goal: its words, and the folder or the files that it is about.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useLocation } from "wouter";
import { answer, api } from "../../api/client";
import { bytes } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { goalAt } from "../../parts/To";
import { type Chosen, inTheWay } from "./chosen";
import { Files } from "./Files";
import { bounds, sent } from "./files";

export function Submit() {
  const [, navigate] = useLocation();
  const client = useQueryClient();
  const [chosen, setChosen] = useState<Chosen[]>([]);
  const [there, setThere] = useState(0);
  const limits = useQuery({ queryKey: ["inputs"], queryFn: bounds, staleTime: 60_000 });
  const submit = useMutation({
    mutationFn: async (given: FormData) => {
      setThere(0);
      const wrong = limits.data && inTheWay(chosen, limits.data, bytes);
      if (wrong) throw new Error(wrong);
      const folder = chosen.length > 0 ? await sent(chosen, setThere) : String(given.get("input_dir")).trim();
      const priority = Number(given.get("priority")) as 0 | 1 | 2 | 3;
      return answer(api.POST("/api/goals", { body: { text: String(given.get("text")), input_dir: folder, priority } }));
    },
    onSuccess: ({ workflow_id }) => {
      void client.invalidateQueries({ queryKey: ["workflows"] });
      navigate(goalAt(workflow_id));
    },
  });
  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    submit.mutate(new FormData(event.currentTarget));
  }
  return (
    <form className="panel stack" onSubmit={send}>
      <label>
        What is wanted
        <textarea name="text" rows={2} required maxLength={20_000} placeholder="Review the code, run the tests and write a report" />
      </label>
      {limits.data && <Files chosen={chosen} choose={setChosen} bounds={limits.data} />}
      <Refusal error={limits.error} />
      <div className="row fields">
        {chosen.length === 0 && (
          <label>
            Input folder, on the fleet's machine
            <input name="input_dir" placeholder="/srv/project" />
          </label>
        )}
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
      <div className="row">
        <button type="submit" disabled={submit.isPending}>
          Submit the goal
        </button>
        {submit.isPending && chosen.length > 0 && (
          <span role="status" className="note">
            {there} of {chosen.length} files are there
          </span>
        )}
      </div>
      <Refusal error={submit.error} />
    </form>
  );
}
