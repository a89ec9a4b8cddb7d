import { Link, Outlet } from "@tanstack/react-router";
import { LOCAL, useSession, useSignOut } from "../api/session";
import { toggle, useTheme } from "../lib/theme";
import { SignIn } from "./SignIn";

const PAGES = [
  ["/", "Overview"],
  ["/fleet", "Fleet"],
  ["/goals", "Goals"],
  ["/queues", "Queues"],
  ["/costs", "Costs"],
  ["/rollouts", "Roll-outs"],
  ["/alerts", "Alerts"],
  ["/policies", "Policies"],
  ["/audit", "Audit"],
] as const;

export function Shell() {
  const session = useSession();
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="bar">
        <Link to="/" className="brand">
          amas
        </Link>
        <nav aria-label="Pages">
          {PAGES.map(([to, name]) => (
            <Link key={to} to={to} activeOptions={{ exact: to === "/" }}>
              {name}
            </Link>
          ))}
        </nav>
        {session?.name && session.name !== LOCAL && <SignedIn name={session.name} />}
        <ThemeSwitch />
      </header>
      <main id="main" tabIndex={-1}>
        {session?.name === "" ? <SignIn ways={session.sign_in} /> : <Outlet />}
      </main>
    </>
  );
}

function SignedIn({ name }: { name: string }) {
  const signOut = useSignOut();
  return (
    <>
      <span className="who">{name}</span>
      <button type="button" className="quiet" onClick={() => signOut.mutate()}>
        Sign out
      </button>
    </>
  );
}

function ThemeSwitch() {
  const other = useTheme() === "dark" ? "light" : "dark";
  return (
    <button type="button" className="quiet" onClick={toggle} aria-label={`Use the ${other} theme`}>
      {other === "light" ? "☀" : "☾"}
    </button>
  );
}
