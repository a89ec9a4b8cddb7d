import type { Shape } from "../../api/client";

/** What a workflow is about in a line: its goal's words, or the name of its flow. */
export function goalText({ goal, id }: Pick<Shape["WorkflowShape"], "goal" | "id">): string {
  const given = goal as { text?: string; flow?: string; name?: string } | null;
  return given?.text || given?.flow || given?.name || `Flow ${id}`;
}
