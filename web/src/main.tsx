import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Refused, UNKNOWN_CALLER } from "./api/client";
import { SESSION } from "./api/session";
import { apply } from "./lib/theme";
import { Shell } from "./shell/Shell";
import "./theme.css";

const client = new QueryClient({
  defaultOptions: {
    mutations: { networkMode: "always" }, // what can't be done now is said, and not done later
    queries: { staleTime: 1_000, gcTime: 60_000, retry: (failures, error) => (error as Refused).status === 0 && failures < 3 },
  },
});

window.addEventListener(UNKNOWN_CALLER, () => void client.invalidateQueries({ queryKey: SESSION }));
window.addEventListener("pushState", () => window.scrollTo(0, 0)); // told by wouter; on the way back the browser scrolls by itself
apply();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <Shell />
    </QueryClientProvider>
  </StrictMode>,
);
