import type { FormEvent } from "react";
import { useSignIn, type Session } from "../api/session";
import { Refusal } from "../parts/Failed";

export function SignIn({ ways }: { ways: Session["sign_in"] }) {
  const signIn = useSignIn();
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    signIn.mutate(String(new FormData(event.currentTarget).get("key")));
  }
  return (
    <section className="narrow panel">
      <h1>Sign in</h1>
      {ways.includes("key") && (
        <form onSubmit={submit} className="stack">
          <label>
            API key
            <input name="key" type="password" autoComplete="current-password" required />
          </label>
          <button type="submit" disabled={signIn.isPending}>
            Sign in
          </button>
        </form>
      )}
      {ways.includes("oidc") && <a href="/auth/login">Sign in with your organisation</a>}
      <Refusal error={signIn.error} />
    </section>
  );
}
