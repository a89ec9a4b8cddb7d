// The page's routes; `server/pages.py` serves the document for the first part of each.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Failed, Lost } from "./parts/Failed";
import { Overview } from "./pages/Overview";
import { Shell } from "./shell/Shell";

const root = createRootRoute({ component: Shell, notFoundComponent: Lost, errorComponent: Failed });
const under = { getParentRoute: () => root };

const routes = [
  createRoute({ ...under, path: "/", component: Overview }),
  createRoute({ ...under, path: "/fleet", component: lazyRouteComponent(() => import("./pages/fleet/Fleet"), "Fleet") }),
  createRoute({ ...under, path: "/agents/$id", component: lazyRouteComponent(() => import("./pages/Agent"), "Agent") }),
  createRoute({ ...under, path: "/goals", component: lazyRouteComponent(() => import("./pages/goals/Goals"), "Goals") }),
  createRoute({ ...under, path: "/goals/$id", component: lazyRouteComponent(() => import("./pages/goals/Goal"), "Goal") }),
  createRoute({ ...under, path: "/tasks/$id", component: lazyRouteComponent(() => import("./pages/Task"), "Task") }),
  createRoute({ ...under, path: "/queues", component: lazyRouteComponent(() => import("./pages/Queues"), "Queues") }),
  createRoute({ ...under, path: "/costs", component: lazyRouteComponent(() => import("./pages/Costs"), "Costs") }),
  createRoute({ ...under, path: "/rollouts", component: lazyRouteComponent(() => import("./pages/Rollouts"), "Rollouts") }),
  createRoute({ ...under, path: "/alerts", component: lazyRouteComponent(() => import("./pages/Alerts"), "Alerts") }),
  createRoute({ ...under, path: "/policies", component: lazyRouteComponent(() => import("./pages/Policies"), "Policies") }),
  createRoute({ ...under, path: "/audit", component: lazyRouteComponent(() => import("./pages/Audit"), "Audit") }),
] as const;

export const router = createRouter({ routeTree: root.addChildren(routes), defaultPreload: "intent", scrollRestoration: true });

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
