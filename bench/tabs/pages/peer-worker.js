// A Web Worker behind Comlink: a fresh instance for each call.

import * as Comlink from "/comlink/comlink.mjs";

const module = WebAssembly.compileStreaming(fetch("/guests/fib.wasm"));

Comlink.expose({
  async run(argument) {
    return Number(new WebAssembly.Instance(await module).exports.fib(argument));
  },
});
