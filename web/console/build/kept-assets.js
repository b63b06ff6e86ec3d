// Tells the service worker which files the console consists of, those that are loaded late included.

const PLACEHOLDER = '"__ASSETS__"';
const SERVICE_WORKER = "assets/service-worker.js";

/** A plugin for Vite. */
export function keptAssets() {
  return {
    name: "kept-assets",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const chunk = bundle[SERVICE_WORKER];
        const assets = Object.keys(bundle)
          .filter((name) => name !== SERVICE_WORKER && name.startsWith("assets/"))
          .map((name) => `/${name}`);
        const list = JSON.stringify(JSON.stringify(assets));
        const code = chunk.code.replace(/["'`]__ASSETS__["'`]/, () => list);
        if (code === chunk.code) {
          this.error(`${SERVICE_WORKER} holds no ${PLACEHOLDER} to write the list to`);
        }
        chunk.code = code;
      },
    },
  };
}
