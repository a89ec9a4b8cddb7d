// The page's routes; `server/pages.py` has the same and serves each a document that names its script. The scripts of other pages
// come when they are first shown, or when a pointer comes near a link to them.
import { type ComponentType, lazy, Suspense } from "react";
import { Route, Switch } from "wouter";
import { Lost } from "./parts/Failed";

type Page = ComponentType<{ id: string }>;

const SCRIPTS: Record<string, () => Promise<Page>> = {
  "/": () => import("./pages/Overview").then((found) => found.Overview),
  "/fleet": () => import("./pages/fleet/Fleet").then((found) => found.Fleet),
  "/agents/:id": () => import("./pages/Agent").then((found) => found.Agent),
  "/goals": () => import("./pages/goals/Goals").then((found) => found.Goals),
  "/goals/:id": () => import("./pages/goals/Goal").then((found) => found.Goal),
  "/tasks": () => import("./pages/Tasks").then((found) => found.Tasks),
  "/tasks/:id": () => import("./pages/Task").then((found) => found.Task),
  "/queues": () => import("./pages/Queues").then((found) => found.Queues),
  "/costs": () => import("./pages/Costs").then((found) => found.Costs),
  "/rollouts": () => import("./pages/Rollouts").then((found) => found.Rollouts),
  "/alerts": () => import("./pages/Alerts").then((found) => found.Alerts),
  "/policies": () => import("./pages/Policies").then((found) => found.Policies),
  "/audit": () => import("./pages/Audit").then((found) => found.Audit),
};

const begunAt = window.location.pathname;

/** A script that is gone belonged to a page that was built anew since: the browser then goes there as by any other link. */
async function shown(load: () => Promise<Page>): Promise<{ default: Page }> {
  try {
    return { default: await load() };
  } catch (error) {
    if (window.location.pathname === begunAt) throw error; // it was loaded just now, so that would go on for ever
    window.location.reload();
    return new Promise(() => {});
  }
}

const ROUTES = Object.entries(SCRIPTS).map(([path, load]) => ({ path, Page: lazy(() => shown(load)) }));

/** Have a page's script come before it is asked for; that it doesn't come is told when it is. */
export const preload = (path: string) => void SCRIPTS[path]?.().catch(() => {});

export const Routes = () => (
  <Suspense>
    <Switch>
      {ROUTES.map(({ path, Page }) => (
        <Route key={path} path={path}>
          {({ id = "" }: { id?: string }) => <Page key={id} id={id} />}
        </Route>
      ))}
      <Route>
        <Lost />
      </Route>
    </Switch>
  </Suspense>
);
