import { basename } from "node:path";
import { defineConfig, type Plugin, type Rolldown } from "vite";

// The control plane serves what is built; in development its API is fetched through here.
const api = process.env.AMAS_URL ?? "http://127.0.0.1:8000";

/** What a page asks the API for first: it is on its way before the page's script runs. */
const ASKED: Record<string, string[]> = {
  Overview: ["/api/metrics", "/api/usage"],
  Fleet: ["/api/fleet/map"],
  Goals: ["/api/inputs"],
  Alerts: ["/api/alerts", "/api/silences", "/api/runbooks"],
  Policies: ["/api/policies"],
  Rollouts: ["/api/rollouts"],
};

/** A document for each page, `Fleet.html` for `pages/fleet/Fleet.tsx`: index.html that names the page's own files as well. */
const documents = (): Plugin => ({
  name: "documents",
  enforce: "post",
  generateBundle(_, bundle) {
    const plain = (bundle["index.html"] as Rolldown.OutputAsset).source as string;
    const chunks = Object.values(bundle).filter((file) => file.type === "chunk");
    const under = (name: string): Rolldown.OutputChunk[] => {
      const chunk = bundle[name] as Rolldown.OutputChunk;
      return [chunk, ...chunk.imports.flatMap(under)];
    };
    const routed = new Set([...this.getModuleIds()].filter((id) => id.endsWith("/src/router.tsx")).flatMap((id) => this.getModuleInfo(id)!.dynamicallyImportedIds));
    for (const page of chunks.filter((chunk) => routed.has(chunk.facadeModuleId!))) {
      const name = basename(page.facadeModuleId!, ".tsx");
      const parts = under(page.fileName);
      const styles = parts.flatMap((part) => [...(part.viteMetadata?.importedCss ?? [])]);
      const links = [
        ...parts.map((part) => [`/${part.fileName}`, 'rel="modulepreload"']),
        ...styles.map((file) => [`/${file}`, 'rel="stylesheet"']),
        ...(ASKED[name] ?? []).map((path) => [path, 'rel="preload" as="fetch"']),
      ].filter(([file]) => !plain.includes(`"${file}"`));
      const told = new Map(links.map(([file, as]) => [file, `    <link ${as} crossorigin href="${file}">\n`]));
      this.emitFile({ type: "asset", fileName: `${name}.html`, source: plain.replace("  </head>", `${[...told.values()].join("")}  </head>`) });
    }
  },
});

export default defineConfig({
  plugins: [documents()],
  // Preact stands in for React, also to the libraries: a seventh of its script, which is most of what the first view would read.
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  resolve: {
    alias: {
      "react/jsx-runtime": "preact/jsx-runtime",
      "react-dom/client": "preact/compat/client",
      "react-dom": "preact/compat",
      react: "preact/compat",
    },
  },
  // Small files stay files: the page's policy allows no script or style that stands in the document.
  build: {
    outDir: "../src/amas/_web",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2023",
    rolldownOptions: {
      checks: { pluginTimings: false },
      onLog: (level, log, tell) => log.code !== "MODULE_LEVEL_DIRECTIVE" && tell(level, log), // a library's "use client"
      output: {
        // What every page has, in one file and not in a dozen of some hundred bytes.
        codeSplitting: { groups: [{ name: "shell", test: /preact|query|wouter|openapi-fetch|src\/(api|lib|shell|parts\/(?!Plot))/ }] },
      },
    },
  },
  server: { proxy: { "/api": api, "/openapi.json": api } },
});
