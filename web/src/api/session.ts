// Who is signed in; nobody has the name "". The browser holds the session in a cookie that no script sees.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Shape } from "./client";

export const SESSION = ["session"];
/** Whoever is on the fleet's own machine while no key was made: there is nothing to sign out of. */
export const LOCAL = "local";

export function useSession(): Shape["SessionShape"] | undefined {
  return useQuery({ queryKey: SESSION, staleTime: Infinity, queryFn: () => answer(api.GET("/api/session")) }).data;
}

const CHANGES: readonly string[] = ["system-admin", "operator"];

/** What whoever is signed in may do, as `server/access.py` has it: nothing is offered that would be refused. */
export interface May {
  /** Look at the fleet as a whole, which callers of a tenant may not. */
  fleet: boolean;
  /** Submit, cancel, answer and put back what is theirs. */
  work: boolean;
  /** Change the fleet itself. */
  operate: boolean;
}

export function useMay(): May {
  const session = useSession();
  const fleet = session?.tenant === ""; // what would be refused isn't asked for, so this waits until it is known who asks
  const work = !session || CHANGES.includes(session.role); // most may: nothing moves when that is known
  return { fleet, work, operate: fleet && work };
}

/** In whose name the page asks for a change; the server puts the caller's own in its place where it knows that. */
export const useBy = (): string => useSession()?.name || "web";

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (key: string) => answer(api.POST("/api/session", { body: { key } })),
    onSuccess: () => client.resetQueries(),
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({ mutationFn: () => answer(api.DELETE("/api/session")), onSuccess: () => client.resetQueries() });
}
