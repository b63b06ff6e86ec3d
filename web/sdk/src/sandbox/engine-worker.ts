//! A warm Web Worker for WebAssembly, WASI and QuickJS: each run gets a fresh instance, or one with
//! all of its state replaced, so that the Web Worker itself can stay. Guest code here is WebAssembly
//! and reaches nothing but its imports.

import type { FrameToGuest, Program, RunEnd, RunSpec, RunUse } from './messages.js';
import { Outlet } from './outlet.js';
import { Engine } from './quickjs.js';
import { readProgram, runWasm, type WasmProgram } from './wasm.js';

declare const runaboutPreludeText: string;

type Kept = { source: string } | WasmProgram;

const programs = new Map<string, Kept>();
const encoder = new TextEncoder();
let engine: Promise<Engine> | undefined;
const post = (message: object): void => { postMessage(message); };

function keep(program: Program): Kept {
  return 'source' in program ? program : readProgram(program.module, program.bytes);
}

async function run(spec: RunSpec, key: string): Promise<{ end: RunEnd; use: RunUse }> {
  const outlet = new Outlet({ post, now: () => performance.now(), encode: (text) => encoder.encode(text) });
  const program = programs.get(key);
  if (program === undefined) throw new Error('the program did not arrive');
  try {
    if (!('source' in program)) return runWasm(program, spec, outlet);
    if (engine === undefined) throw new Error('the JavaScript engine did not arrive');
    return await (await engine).run(program.source, spec, outlet);
  } finally {
    outlet.end();
  }
}

addEventListener('message', (event: MessageEvent<FrameToGuest>) => {
  const message = event.data;
  switch (message.type) {
    case 'engine':
      engine = Engine.start(message.module, runaboutPreludeText);
      engine.catch((error: unknown) => post({ type: 'broken', reason: String(error) }));
      break;
    case 'program':
      programs.set(message.key, keep(message.program));
      break;
    case 'forget':
      programs.clear();
      break;
    case 'run':
      run(message.run, message.key).then(
        ({ end, use }) => post({ type: 'done', end, use }),
        (error: unknown) => post({ type: 'broken', reason: String(error) }),
      );
      break;
  }
});
post({ type: 'ready' });
