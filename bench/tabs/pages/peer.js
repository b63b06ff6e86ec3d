// The tab that does as it is told over a plain WebSocket: `?socket=URL&slots=N&how=plain|comlink|fresh`.

import * as Comlink from "/comlink/comlink.mjs";

const query = new URLSearchParams(location.search);
const slots = Number(query.get("slots"));

/** How an argument becomes a value. */
const WAYS = {
  /** On the main thread, in a fresh instance: nothing less would do it. */
  async plain() {
    const module = await WebAssembly.compileStreaming(fetch("/guests/fib.wasm"));
    return async (argument) => Number(new WebAssembly.Instance(module).exports.fib(argument));
  },
  /** In Web Workers that stay, by Comlink; a fresh instance, but nothing else, for each. */
  async comlink() {
    const source = new URL("/pages/peer-worker.js", location);
    const make = () => Comlink.wrap(new Worker(source, { type: "module" }));
    const idle = await Promise.all(
      Array.from({ length: slots }, async () => {
        const worker = make();
        await worker.run(1);
        return worker;
      }),
    );
    return async (argument) => {
      const worker = idle.pop();
      const value = await worker.run(argument);
      idle.push(worker);
      return value;
    };
  },
  /** In a Web Worker that is made for it, and ended. */
  async fresh() {
    const script = new Blob(["onmessage = ({ data }) => postMessage(data)"]);
    const source = URL.createObjectURL(script);
    return (argument) =>
      new Promise((resolve) => {
        const worker = new Worker(source);
        worker.onmessage = ({ data }) => {
          worker.terminate();
          resolve(data);
        };
        worker.postMessage(argument);
      });
  },
};

const work = await WAYS[query.get("how")]();
const socket = new WebSocket(query.get("socket"));
socket.onmessage = async ({ data }) => {
  const { task, argument } = JSON.parse(data);
  const value = await work(argument).catch(String);
  socket.send(JSON.stringify({ task, value }));
};
socket.onopen = () => fetch("/ready");
