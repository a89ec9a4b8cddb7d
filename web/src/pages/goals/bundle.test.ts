import { describe, expect, it } from "vitest";
import { bundled, gravest, told } from "./bundle";
import type { Task } from "./fold";

const task = (id: string, parent_id = "", needs: string[] = []) => ({ id, parent_id, needs, state: "succeeded" }) as Task;
const side = Array.from({ length: 6 }, (_, n) => task(`s${n}`, "lead"));
const names = (tasks: Task[]) => tasks.map(({ id }) => id).join(" ");

describe("a graph's bundles", () => {
  it("tell many sub-tasks of one task as one, until somebody opens them", () => {
    const { shown, bundles } = bundled([task("lead"), ...side], new Set());
    expect(names(shown)).toBe("lead");
    expect(bundles.map(({ parent, tasks }) => [parent, tasks.length])).toEqual([["lead", 6]]);
    expect(bundled([task("lead"), ...side], new Set(["lead"])).bundles).toEqual([]);
  });

  it("leave out what something waits for, what waits itself, and what has sub-tasks", () => {
    const tasks = [task("lead"), ...side, task("n", "lead"), task("m", "lead", ["n"]), task("p", "lead"), task("q", "p")];
    expect(names(bundled(tasks, new Set()).shown)).toBe("lead n m p q");
  });

  it("don't hide a few, nor those whose parent isn't there", () => {
    expect(bundled([task("lead"), ...side.slice(1)], new Set()).bundles).toEqual([]);
    expect(bundled(side, new Set()).bundles).toEqual([]);
  });

  it("say how they stand", () => {
    expect(told({ parent: "lead", tasks: [{ ...side[0]!, state: "running" }, ...side] })).toBe("1 running, 6 succeeded");
  });

  it("have the colour of what is worst in them, and of success where all is done", () => {
    const of = (...states: string[]) => gravest({ parent: "lead", tasks: states.map((state) => ({ ...side[0]!, state }) as Task) });
    expect([of("succeeded", "running", "failed"), of("succeeded", "queued", "running"), of("succeeded")]).toEqual(["failed", "running", "succeeded"]);
  });
});
