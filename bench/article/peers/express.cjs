// The article as people would first build it: Node.js' cluster, Express, and fib(34) in JavaScript for
// each request.

const cluster = require("node:cluster");
const { availableParallelism } = require("node:os");
const { readFileSync } = require("node:fs");
const express = require("express");

const [port, file] = process.argv.slice(2);

function fib(n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

if (cluster.isPrimary) {
  for (let n = 0; n < availableParallelism(); n += 1) cluster.fork();
} else {
  const app = express();
  const text = readFileSync(file);
  app.get("/wiki/:name", (request, response) => {
    fib(34);
    response.type("html").set("runabout-revision", "1").send(text);
  });
  app.listen(Number(port), "127.0.0.1");
}
