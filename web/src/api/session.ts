// Who is signed in. A control plane that knows no sessions answers 404: then nobody need sign in, or the caller's token does it.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { refusal } from "./client";

export interface Session {
  name: string;
  role: string;
  sign_in: ("key" | "oidc")[];
  /** The API refused a call for want of one. */
  needed?: boolean;
}

export const SESSION = ["session"];
const NOBODY: Session = { name: "", role: "", sign_in: ["key"] };

export function useSession(): Session {
  const query = useQuery({
    queryKey: SESSION,
    staleTime: Infinity,
    queryFn: async (): Promise<Session> => {
      const response = await fetch("/api/session");
      return response.ok ? await response.json() : { ...NOBODY, needed: response.status === 401 };
    },
  });
  return query.data ?? NOBODY;
}

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (key: string) => {
      const response = await fetch("/api/session", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ key }),
      });
      if (!response.ok) throw await refusal(response);
    },
    onSuccess: () => client.resetQueries(),
  });
}
