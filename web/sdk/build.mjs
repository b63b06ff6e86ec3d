// Builds `dist`: the package's modules, its types, and what runs inside of the sandboxed frame.

import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { build } from 'esbuild';

const here = new URL('.', import.meta.url).pathname;
process.chdir(here);

await rm('dist', { recursive: true, force: true });
await build({
  entryPoints: ['src/index.ts'],
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  logLevel: 'warning',
});
execFileSync('npx', ['tsc', '--emitDeclarationOnly', '--outDir', 'dist'], { stdio: 'inherit' });
