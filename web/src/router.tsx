// Addresses of the page. Runs come with the first load, the rest when somebody goes there.

import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { uiPath } from "@/api/base";
import {
  readCompareSearch,
  readFlipSearch,
  readRunSearch,
  readRunsSearch,
  readSampleSearch,
  readSubmitSearch,
} from "@/lib/search";
import { NotFound, PageError, Root } from "@/routes/root";
import { RunsPage } from "@/routes/runs";

const root = createRootRoute({ component: Root, notFoundComponent: NotFound, errorComponent: PageError });

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/runs", replace: true });
  },
});

const runs = createRoute({
  getParentRoute: () => root,
  path: "/runs",
  validateSearch: readRunsSearch,
  component: RunsPage,
});

const run = createRoute({
  getParentRoute: () => root,
  path: "/runs/$id",
  validateSearch: readRunSearch,
  component: lazyRouteComponent(() => import("@/routes/run"), "RunPage"),
});

const samples = createRoute({
  getParentRoute: () => root,
  path: "/runs/$id/samples/$task",
  validateSearch: readSampleSearch,
  component: lazyRouteComponent(() => import("@/routes/samples"), "SamplesPage"),
});

const sample = createRoute({
  getParentRoute: () => samples,
  path: "$doc",
});

const submit = createRoute({
  getParentRoute: () => root,
  path: "/submit",
  validateSearch: readSubmitSearch,
  component: lazyRouteComponent(() => import("@/routes/submit"), "SubmitPage"),
});

const compare = createRoute({
  getParentRoute: () => root,
  path: "/compare",
  validateSearch: readCompareSearch,
  component: lazyRouteComponent(() => import("@/routes/compare"), "ComparePage"),
});

const flips = createRoute({
  getParentRoute: () => root,
  path: "/compare/$task",
  validateSearch: readFlipSearch,
  component: lazyRouteComponent(() => import("@/routes/flips"), "FlipsPage"),
});

const flip = createRoute({
  getParentRoute: () => flips,
  path: "$doc",
});

export const router = createRouter({
  routeTree: root.addChildren([
    home,
    runs,
    run,
    samples.addChildren([sample]),
    submit,
    compare,
    flips.addChildren([flip]),
  ]),
  basepath: uiPath,
  defaultPreload: "intent",
  scrollRestoration: true,
  defaultStructuralSharing: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
