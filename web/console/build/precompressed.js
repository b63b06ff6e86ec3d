// Writes a `.gz` beside each built text, so that the node sends it without compressing anything.

import { gzipSync } from "node:zlib";

const TEXT = /\.(html|js|css|svg|json)$/;
/** Below this a packet carries it anyway. */
const BYTES_MIN = 1024;

/** A plugin for Vite. */
export function precompressed() {
  return {
    name: "precompressed",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const [fileName, output] of Object.entries(bundle)) {
          const source = Buffer.from(output.type === "chunk" ? output.code : output.source);
          if (TEXT.test(fileName) && source.length >= BYTES_MIN) {
            const compressed = gzipSync(source, { level: 9 });
            this.emitFile({ type: "asset", fileName: `${fileName}.gz`, source: compressed });
          }
        }
      },
    },
  };
}
