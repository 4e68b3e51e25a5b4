import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = fileURLToPath(new URL(".", import.meta.url));
// Each page beside this file is an entry of its own.
const pages = readdirSync(here).filter((name) => name.endsWith(".html"));

export default defineConfig({
  root: here,
  resolve: {
    alias: { "@timewire/client": `${here}../sdk/typescript/src/index.ts` },
  },
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    outDir: "../src/timewire/web_assets",
    emptyOutDir: true,
    // The policy of the pages allows what comes from the server, and nothing that stands in them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: pages.map((name) => here + name) },
  },
  server: {
    proxy: {
      "/v1": { target: "http://127.0.0.1:7447", ws: true },
      "/demo": "http://127.0.0.1:7447",
    },
  },
  test: { include: ["tests/**/*.test.ts"] },
});
