import { useEffect, useRef } from "react";
import { Link, Redirect, useLocation } from "wouter";
import type { Shape } from "../api/client";
import { useLink } from "../api/link";
import { LOCAL, useSession, useSignOut } from "../api/session";
import { toggle, useTheme } from "../lib/theme";
import { Caught } from "../parts/Failed";
import { Title } from "../parts/Title";
import { preload, Routes } from "../router";
import { SignIn } from "./SignIn";

const PAGES = [
  ["/", "Overview"],
  ["/fleet", "Fleet"],
  ["/goals", "Goals"],
  ["/tasks", "Tasks"],
  ["/queues", "Queues"],
  ["/costs", "Costs"],
  ["/rollouts", "Roll-outs"],
  ["/alerts", "Alerts"],
  ["/policies", "Policies"],
  ["/audit", "Audit"],
] as const;
/** What shows a tenant's own; the others are about the fleet as a whole, which callers of a tenant may not look at. */
const OF_TENANTS: readonly string[] = ["/goals", "/tasks", "/queues", "/costs"];

export function Shell() {
  const session = useSession();
  const [here] = useLocation();
  const main = useMain(here);
  const tenant = session?.tenant ?? "";
  const theirs = !tenant || OF_TENANTS.some((to) => isAt(here, to));
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="bar">
        <Link href="/" className="brand">
          amas
        </Link>
        <nav aria-label="Pages">
          {PAGES.filter(([to]) => !tenant || OF_TENANTS.includes(to)).map(([to, name]) => (
            <Link
              key={to}
              href={to}
              aria-current={isAt(here, to) ? "page" : undefined}
              onPointerEnter={() => preload(to)}
              onFocus={() => preload(to)}
            >
              {name}
            </Link>
          ))}
        </nav>
        {session?.name && session.name !== LOCAL && <SignedIn as={session} />}
        <ThemeSwitch />
      </header>
      <Away />
      <main id="main" ref={main} tabIndex={-1}>
        {session?.name === "" ? (
          <SignIn ways={session.sign_in} />
        ) : (
          <Caught key={here}>{tenant && here === "/" ? <Redirect to="/goals" replace /> : theirs ? <Routes /> : <NotTheirs tenant={tenant} />}</Caught>
        )}
      </main>
    </>
  );
}

const NotTheirs = ({ tenant }: { tenant: string }) => (
  <section>
    <Title>Of the whole fleet</Title>
    <p>This page is about all tenants' work, and your key is of {tenant} alone. Its goals, tasks, queues and costs are above.</p>
  </section>
);

/** What is read out, too, when the control plane goes; what is shown stays, and is of before. */
function Away() {
  const { away_ms } = useLink();
  return (
    <div aria-live="polite" className="away">
      {away_ms !== null && (
        <>
          The control plane hasn't answered since {new Date(away_ms).toLocaleTimeString()}: what is shown is of then. Connecting again
          <span className="dots">…</span>
        </>
      )}
    </div>
  );
}

/** Where one goes by a link that is gone with its page, the keys go on at the content, not at the window's top. */
function useMain(here: string) {
  const main = useRef<HTMLElement>(null);
  const before = useRef(here);
  useEffect(() => {
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone they are in a row
    if (here !== before.current && document.activeElement === document.body) main.current?.focus({ preventScroll: true });
    before.current = here;
  }, [here]);
  return main;
}

const isAt = (here: string, to: string) => here === to || (to !== "/" && here.startsWith(`${to}/`));

function SignedIn({ as: { name, role, tenant } }: { as: Shape["SessionShape"] }) {
  const signOut = useSignOut();
  return (
    <>
      <span className="who">
        {name}
        <span className="note">
          {" "}
          {role}
          {tenant && ` of ${tenant}`}
        </span>
      </span>
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
