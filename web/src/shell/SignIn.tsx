import type { FormEvent } from "react";
import { useSignIn } from "../api/session";
import { Refusal } from "../parts/Failed";
import { Title } from "../parts/Title";

export function SignIn({ ways }: { ways: string[] }) {
  const signIn = useSignIn();
  const here = window.location.pathname + window.location.search; // where they come back to
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    signIn.mutate(String(new FormData(event.currentTarget).get("key")));
  }
  return (
    <section className="narrow panel">
      <Title>Sign in</Title>
      {ways.includes("key") && (
        <form onSubmit={submit} className="stack">
          <label>
            API key, or the fleet's token
            <input name="key" type="password" autoComplete="current-password" required />
          </label>
          <button type="submit" disabled={signIn.isPending}>
            Sign in
          </button>
        </form>
      )}
      {ways.includes("oidc") && <a href={`/auth/login?next=${encodeURIComponent(here)}`}>Sign in with your organisation</a>}
      <Refusal error={signIn.error} />
    </section>
  );
}
