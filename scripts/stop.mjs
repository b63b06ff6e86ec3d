// `make stop`: ends the node that `make serve` started, and no other.

import { parseArgs } from "node:util";

import { stop } from "./node-process.mjs";

const { values: options } = parseArgs({ options: { data: { type: "string" } } });

const node = await stop(options.data);
console.log(node === null ? "no node to stop" : `stopped the node with pid ${node.pid}`);
