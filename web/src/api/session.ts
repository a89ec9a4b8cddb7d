// Who is signed in; nobody has the name "". The browser holds the session in a cookie that no script sees.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Shape } from "./client";

export const SESSION = ["session"];
/** Whoever is on the fleet's own machine while no key was made: there is nothing to sign out of. */
export const LOCAL = "local";

export function useSession(): Shape["SessionShape"] | undefined {
  return useQuery({ queryKey: SESSION, staleTime: Infinity, queryFn: () => answer(api.GET("/api/session")) }).data;
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
