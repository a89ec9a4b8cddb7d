// The API, typed by the control plane's own document: a path, field or query that it doesn't have is a type error.
import createClient from "openapi-fetch";
import { lost } from "./link";
import type { components, paths } from "./schema";

export type Shape = components["schemas"];

/** What the server refused, in its own words (RFC 9457). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

export async function refusal(response: Response): Promise<Refused> {
  try {
    const problem = (await response.json()) as Shape["Problem"];
    const faults = problem.errors?.map((fault) => fault.detail).join("; ");
    return new Refused(response.status, problem.code, faults || problem.detail);
  } catch {
    return new Refused(response.status, "unreadable", `the control plane answered ${response.status}`);
  }
}

/** Heard by the page when a call was refused for want of a session, whoever made it. */
export const UNKNOWN_CALLER = "amas:unknown-caller";

function away(): Refused {
  void lost();
  return new Refused(0, "away", "the control plane doesn't answer: it may be starting anew");
}

export const api = createClient<paths>({ baseUrl: window.location.origin });

api.use({
  async onResponse({ response }) {
    if (response.status === 401) window.dispatchEvent(new Event(UNKNOWN_CALLER));
    if (!response.ok) throw await refusal(response);
  },
  onError: away,
});

/** What a path that stands in no document answered; it throws `Refused` for all else. */
export async function asked(path: string, request?: RequestInit): Promise<Response> {
  const response = await fetch(path, request).catch(() => {
    throw away();
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

/** What a call answered; it throws `Refused` for all else. */
export async function answer<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
