// What can be done about each error, from the one table of codes: the module `virtual:error-codes`.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MODULE = "virtual:error-codes";
const ROW = /^\| <a id="(\w+)"><\/a>[^|]*\|[^|]*\|[^|]*\| (.*) \|$/;

/** A plugin for Vite; `path` is the table's, seen from the configuration. */
export function errorCodes(path) {
  const file = fileURLToPath(new URL(`../${path}`, import.meta.url));
  return {
    name: "error-codes",
    resolveId: (id) => (id === MODULE ? `\0${MODULE}` : null),
    load(id) {
      if (id !== `\0${MODULE}`) {
        return null;
      }
      this.addWatchFile(file);
      return `export const whatToDo = ${JSON.stringify(read(file))};`;
    },
  };
}

function read(file) {
  const rows = readFileSync(file, "utf8").split("\n").map((line) => ROW.exec(line));
  const known = rows.filter((row) => row !== null).map(([, code, whatToDo]) => [code, whatToDo]);
  if (known.length === 0) {
    throw new Error(`${file} holds no codes: has its form changed?`);
  }
  return Object.fromEntries(known);
}
