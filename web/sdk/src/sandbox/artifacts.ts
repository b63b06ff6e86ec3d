//! The code that the page has handed over, and what was made of it: WebAssembly is compiled once for
//! each limit of memory, and shared by all Web Workers.

import type { Language } from '../wire.js';
import type { Program, RunSpec } from './messages.js';
import { capMemory, PAGE_BYTES } from './wasm-binary.js';

/** Needs more memory from the start than the run may have. */
export class TooLarge extends Error {}

type Artifact =
  | { source: string; needsQuickJs: boolean }
  | { bytes: Uint8Array; compiled: Map<number, Promise<WebAssembly.Module>> };

export class Artifacts {
  private readonly kept = new Map<string, Artifact>();

  add(key: string, language: Language, bytes: Uint8Array): void {
    if (this.kept.has(key)) return;
    if (language !== 'js') {
      this.kept.set(key, { bytes, compiled: new Map() });
      return;
    }
    const source = new TextDecoder().decode(bytes);
    this.kept.set(key, { source, needsQuickJs: awaitsAtTop(source) });
  }

  drop(key: string): void {
    this.kept.delete(key);
  }

  /** Browsers give a script with a top-level `await` no value; QuickJS does. */
  needsQuickJs(run: RunSpec): boolean {
    const artifact = this.kept.get(run.artifact);
    if (artifact === undefined || !('source' in artifact)) return false;
    return run.engine === 'quickjs' || (run.form === 'script' && artifact.needsQuickJs);
  }

  /** The program of a run, and what a Web Worker keeps it under. */
  async program(run: RunSpec): Promise<{ key: string; program: Program }> {
    const artifact = this.kept.get(run.artifact);
    if (artifact === undefined) throw new Error('the artifact did not arrive');
    if ('source' in artifact) return { key: run.artifact, program: artifact };
    const pages = Math.floor(run.limits.memory_bytes / PAGE_BYTES);
    let compiling = artifact.compiled.get(pages);
    if (compiling === undefined) {
      const capped = capMemory(artifact.bytes, pages);
      if (capped === undefined) throw new TooLarge();
      compiling = WebAssembly.compile(capped as Uint8Array<ArrayBuffer>);
      artifact.compiled.set(pages, compiling);
    }
    return { key: `${run.artifact}/${pages}`, program: { module: await compiling, bytes: artifact.bytes } };
  }
}

/** Whether a script is none without its `await`. Nothing of it runs here. */
function awaitsAtTop(source: string): boolean {
  if (!source.includes('await')) return false;
  try {
    new Function(source);
    return false;
  } catch {
    return true;
  }
}
