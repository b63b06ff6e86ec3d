// Builds `dist`: the package's modules, its types, and what runs inside of the sandboxed frame.
//
// The frame is one file without any address of its own in it: it can be handed over as text
// (`srcdoc`) or served from anywhere. The scripts of its Web Workers are texts inside of it.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

process.chdir(fileURLToPath(new URL('.', import.meta.url)));

const TARGET = 'es2022';
/** What a page's sandboxed frame may do: run scripts that it made itself, and nothing else. */
const FRAME_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:; "
  + "worker-src blob:; connect-src 'none'; form-action 'none'; base-uri 'none'";

async function bundled(entry, define = {}) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    // Stack traces of guest code pass through here, and a person may have to read them.
    keepNames: false,
    charset: 'utf8',
    format: 'iife',
    target: TARGET,
    define,
    logLevel: 'warning',
  });
  return outputFiles[0].text;
}

async function frame() {
  const prelude = await readFile('../../crates/sandbox/prelude/prelude.js', 'utf8');
  const native = await bundled('src/sandbox/native-worker.ts');
  const engine = await bundled('src/sandbox/engine-worker.ts');
  const script = await bundled('src/sandbox/frame.ts', {
    RUNABOUT_CLOCK: JSON.stringify(await bundled('src/sandbox/clock-worker.ts')),
    // In a function of its own, so that guest code finds no name of it.
    RUNABOUT_NATIVE: JSON.stringify(`(() => { 'use strict'; const runaboutPrelude =\n${prelude};\n${native}})();`),
    RUNABOUT_ENGINE: JSON.stringify(`const runaboutPreludeText = ${JSON.stringify(prelude)};\n${engine}`),
  });
  const safe = script.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${FRAME_POLICY}">`
    + `<title>Runabout's sandbox</title><script>${safe}</script>\n`;
}

/** The JavaScript engine as a module of its own, which is loaded when it is needed: bundlers treat it
 * as any code, wherever the package ends up. */
async function engine() {
  const wasm = await readFile(fileURLToPath(import.meta.resolve('quickjs-wasi/quickjs.wasm')));
  const packed = gzipSync(wasm, { level: 9 }).toString('base64');
  return `export const packed = '${packed}';\n`;
}

/** The licences of what is bundled. */
async function licences() {
  const texts = [];
  for (const name of ['@bjorn3/browser_wasi_shim', 'es-module-lexer', 'eventsource-parser', 'idb', 'quickjs-wasi']) {
    const folders = ['node_modules', '../node_modules'].map((folder) => `${folder}/${name}`);
    const folder = folders.find((one) => existsSync(one));
    for (const file of (await readdir(folder)).filter((one) => /^licen[cs]e/i.test(one)).sort()) {
      texts.push(`${name} (${file})\n\n${await readFile(`${folder}/${file}`, 'utf8')}`);
    }
  }
  return texts.join('\n----\n\n');
}

await rm('dist', { recursive: true, force: true });
await mkdir('dist');
await mkdir('src/generated', { recursive: true });
const html = await frame();
await writeFile('dist/frame.html', html);
await writeFile('dist/frame.json', `${JSON.stringify({ policy: FRAME_POLICY })}\n`);
await writeFile('src/generated/frame-html.js', `export const frameHtml = ${JSON.stringify(html)};\n`);
await writeFile('src/generated/quickjs-wasm.js', await engine());
await writeFile('dist/LICENSES.txt', await licences());
await build({
  entryPoints: ['src/index.ts', 'src/service-worker.ts'],
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: TARGET,
  platform: 'neutral',
  mainFields: ['module', 'main'],
  logLevel: 'warning',
});
execFileSync('npx', ['tsc', '--emitDeclarationOnly', '--outDir', 'dist'], { stdio: 'inherit' });
