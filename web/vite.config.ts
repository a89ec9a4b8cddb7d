import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The control plane serves what is built; in development its API is fetched through here.
const api = process.env.AMAS_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  // Small files stay files: the page's policy allows no script or style that stands in the document.
  build: {
    outDir: "../src/amas/_web",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2023",
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  server: { proxy: { "/api": api, "/openapi.json": api } },
});
