// `make serve`: ends with a node that answers, with the example functions deployed. A node that
// already runs this build is kept; one of an older build is replaced.

import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";

import { address, isCurrent, isHealthy, logPath, recorded, start, stop } from "./node-process.mjs";

/** What is deployed, and under which name. */
const EXAMPLES = [
  ["add", "examples/functions/add.js"],
  ["count", "guests/dist/counter.wasm"],
  ["echo", "guests/dist/echo.wasm"],
  ["fib", "guests/dist/fib.wasm"],
  ["fib-js", "examples/functions/fib.js"],
  ["fib-ts", "examples/functions/fib.ts"],
  ["hello", "examples/functions/hello.ts"],
  ["stages", "examples/functions/stages.js"],
];

/** Those of the Makefile, which need not be said again. */
const DEFAULT_PORT = 7878;
const DEFAULT_DATA = "runabout-data";

const { values: options } = parseArgs({
  options: {
    binary: { type: "string" },
    port: { type: "string" },
    data: { type: "string" },
  },
});
const { binary, data } = options;
const port = Number(options.port);
const url = address(port);

try {
  const node = await ensureNode();
  deployExamples();
  console.log(whatNext(node));
} catch (error) {
  console.error(`make serve: ${error.message}`);
  process.exitCode = 1;
}

async function ensureNode() {
  const running = recorded(data);
  if (running !== null && isCurrent(running, binary, port) && (await isHealthy(url))) {
    return running;
  }
  if (running !== null) {
    console.log(`replacing the node with pid ${running.pid}`);
    await stop(data);
  }
  if (await isHealthy(url)) {
    throw new Error(
      `another node answers at ${url}, not started from here with DATA=${data}; stop it, or choose another PORT`,
    );
  }
  return await start({ binary, port, data });
}

function deployExamples() {
  for (const [name, file] of EXAMPLES) {
    try {
      execFileSync(binary, ["deploy", file, "--name", name, "--node", url], { stdio: "pipe" });
    } catch (error) {
      throw new Error(`failed to deploy ${file} as ${name}: ${error.stderr ?? error.message}`);
    }
  }
}

function whatNext(node) {
  const names = EXAMPLES.map(([name]) => name).join(", ");
  const at = port === DEFAULT_PORT ? "" : ` --node ${url}`;
  const from = data === DEFAULT_DATA ? "" : ` DATA=${data}`;
  const json = `-H 'Content-Type: application/json'`;
  const source = "const x=1; const y=2; console.log(x+y);";
  return `
A node answers at ${url} (pid ${node.pid}, log ${logPath(data)}).
Deployed: ${names}.

Call a function:
  curl -X POST ${json} -d '[34]' ${url}/v1/functions/fib/call
  ${binary} call hello '{"name":"Ada"}'${at}
Run one with no node at all:
  ${binary} run examples/functions/fib.js 27
Submit a durable task, then watch how far it is:
  curl -X POST ${json} -d '{"name":"task1","source":"${source}"}' ${url}/v1/tasks
  ${binary} task submit --function stages 10${at}
  ${binary} task list${at}
Open the console:      ${url}/
Read the API's page:   ${url}/docs
Stop the node:         make stop${from}`;
}
