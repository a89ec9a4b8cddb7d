import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Refused } from "./api/client";
import { SESSION } from "./api/session";
import { apply } from "./lib/theme";
import { router } from "./router";
import "./theme.css";

const client = new QueryClient({
  defaultOptions: {
    queries: { staleTime: 1_000, gcTime: 60_000, retry: (failures, error) => (error as Refused).status === 0 && failures < 3 },
  },
  queryCache: new QueryCache({
    onError(error) {
      if (error instanceof Refused && error.status === 401) client.setQueryData(SESSION, (session: object) => ({ ...session, needed: true }));
    },
  }),
});

apply();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
