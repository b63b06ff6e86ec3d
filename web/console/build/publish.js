// Makes `dist` equal to what was just built, and touches nothing that is equal already: the binary
// is built anew whenever something in `dist` has changed.

import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

const [, , built, dist] = process.argv;

const files = (folder) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    : [];

const wanted = new Set(files(built));
for (const file of files(dist)) {
  if (!wanted.has(file)) {
    rmSync(join(dist, file));
  }
}
for (const file of wanted) {
  const [from, to] = [join(built, file), join(dist, file)];
  if (!existsSync(to) || !readFileSync(from).equals(readFileSync(to))) {
    mkdirSync(dirname(to), { recursive: true });
    cpSync(from, to);
  }
}
