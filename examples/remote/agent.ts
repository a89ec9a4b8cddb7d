// A remote agent in TypeScript: turns texts round for a fleet elsewhere, each word a step that no later attempt repeats.
//   npx -p typescript tsc --target es2022 --module es2022 agent.ts && AMAS_URL=https://fleet.example node agent.js
type Env = Record<string, string | undefined>;
declare const process: { env: Env; pid: number; on(name: string, then: () => void): void; exit(code?: number): never };
export type Task = { task_id: string; attempt: number; input: { text: string }; resumed: boolean };
type Session = { session_id: string; token: string; beat_every_s: number };
type Work = { tasks: Task[]; stop: string[] };

const API = `${process.env.AMAS_URL ?? "http://localhost:8000"}/api/remote/sessions`;
const NAME = process.env.AGENT_NAME ?? `turn-${process.pid}`;
const running = new Map<string, AbortController>();
let session!: Session;
class Refused extends Error {}
const why = (answer: Response) => answer.json().then((said) => said.detail, () => `HTTP ${answer.status}`);

async function say<T>(path: string, body: object, token = session.token): Promise<T> {
  for (let wait_ms = 100; ; wait_ms = Math.min(wait_ms * 2, 5000)) { // saying anything twice is harmless
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(API + path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => undefined);
    if (answer?.ok) return (await answer.json()) as T;
    if (answer && answer.status !== 429 && answer.status < 500) throw new Refused(await why(answer));
    await new Promise((then) => setTimeout(then, wait_ms));
  }
}
async function open(): Promise<void> {
  const agents = [{ name: NAME, capabilities: ["text.turn"], version: "1", labels: { lang: "ts" }, slots: 4 }];
  const leave = (error: Error) => (console.error(`remote.${NAME} isn't let in: ${error.message}`), process.exit(1));
  session = await say<Session>("", { agents, take_over: true }, process.env.AMAS_REMOTE_TOKEN ?? "").catch(leave);
  console.error(`registered as remote.${NAME}`);
}
async function work(task: Task): Promise<void> {
  const stopped = new AbortController(), path = `/${session.session_id}/tasks/${task.task_id}`, { attempt } = task;
  running.set(task.task_id, stopped);
  try {
    const words: string[] = [];
    for (const [index, word] of task.input.text.split(" ").entries()) {
      if (stopped.signal.aborted) return;
      const turned = [...word].reverse().join("");
      const step = { attempt, name: `word-${index}`, result: turned };
      words.push((await say<{ steps: Record<string, string> }>(`${path}/steps`, step)).steps[step.name]);
    }
    await say(`${path}/complete`, { attempt, result: words.join(" ") });
  } catch (error) {
    if (!(error instanceof Refused)) await say(`${path}/fail`, { attempt, message: String(error) }).catch(() => undefined);
  } finally { running.delete(task.task_id); }
}
const stop = (ids: string[]) => ids.forEach((id) => running.get(id)?.abort());
const here = () => ({ running: [...running.keys()] });
const beat = () => say<Work>(`/${session.session_id}/renew`, here()).then((said) => stop(said.stop), () => undefined);
const mine = () => ({ method: "DELETE", headers: { authorization: `Bearer ${session?.token}` } });
process.on("SIGTERM", () => fetch(`${API}/${session?.session_id}`, mine()).finally(() => process.exit()));
for (await open(); ; ) {
  const beating = setInterval(beat, session.beat_every_s * 1000);
  try {
    for (;;) {
      const found = await say<Work>(`/${session.session_id}/claim`, { ...here(), max_tasks: 4, wait_s: 20 });
      stop(found.stop), found.tasks.forEach(work);
    }
  } catch { stop(here().running); await open(); } finally { clearInterval(beating); }
}
