import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

import { errorCodes } from "./build/error-codes.js";
import { keptAssets } from "./build/kept-assets.js";
import { precompressed } from "./build/precompressed.js";

/** The node that `npm run dev` shows. */
const node = process.env.RUNABOUT_NODE ?? "http://127.0.0.1:7878";

export default defineConfig({
  plugins: [svelte(), errorCodes("../../docs/errors.md"), keptAssets(), precompressed()],
  build: {
    // From where `build/publish.js` takes it to `dist`.
    outDir: "node_modules/.built",
    target: "es2023",
    modulePreload: { polyfill: false },
    // The policy of the page knows no data: addresses but for images.
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { index: "index.html", "service-worker": "src/service-worker.ts" },
      output: {
        // Its address stays, or browsers would not know it for the same.
        entryFileNames: ({ name }) =>
          name === "service-worker" ? "assets/service-worker.js" : "assets/[name]-[hash].js",
      },
    },
  },
  server: {
    // The Host header stays as it is: the node knows localhost as its own.
    proxy: Object.fromEntries(
      ["/v1", "/docs", "/metrics", "/readyz", "/healthz", "/openapi.json"].map((path) => [
        path,
        { target: node, ws: true },
      ]),
    ),
  },
  test: { include: ["src/**/*.test.ts"] },
});
