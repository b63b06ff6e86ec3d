//! The sandboxed frame: owns the Web Workers that run guest code, starts and ends them, and keeps the
//! time. Runs no guest code itself, and decides nothing about which run goes first.

import { ActiveRun } from './active-run.js';
import { Artifacts, TooLarge } from './artifacts.js';
import { Clock } from './clock.js';
import { Guest } from './guest.js';
import { Outbox } from './outbox.js';
import type { FrameToPage, PageToFrame, RunEnd, RunSpec } from './messages.js';

/** A Web Worker that does not come up by then is given up. */
const STARTING_MS_MAX = 20_000;
/** Web Workers for native JavaScript that are made before they are needed. */
const SPARES_MAX = 4;
/** Functions that keep their sandbox, at most; the one idle for longest gives way. */
const KEPT_MAX = 16;

class Frame {
  private readonly artifacts = new Artifacts();
  private readonly clock = new Clock();
  private readonly runs = new Map<number, ActiveRun>();
  private readonly warm: Guest[] = [];
  private readonly spares: Guest[] = [];
  /** Web Workers of functions that keep their sandbox, idle, the one idle for longest first. */
  private readonly kept: { artifact: string; guest: Guest }[] = [];
  private engine: Promise<WebAssembly.Module> | undefined;
  private slots = 0;
  private hasRunNative = false;

  private readonly tell: (message: FrameToPage) => void;

  constructor(port: MessagePort) {
    this.tell = new Outbox((message) => port.postMessage(message)).tell;
    port.onmessage = (event: MessageEvent<PageToFrame>) => this.hear(event.data);
    this.tell({ type: 'ready' });
  }

  private hear(message: PageToFrame): void {
    switch (message.type) {
      case 'artifact': return this.artifacts.add(message.artifact, message.language, message.bytes);
      case 'drop': return this.drop(message.artifact);
      case 'engine':
        this.engine ??= WebAssembly.compile(message.wasm as Uint8Array<ArrayBuffer>);
        return;
      case 'slots': return this.resize(message.slots);
      case 'run': return this.run(message.run);
      case 'cancel': return this.cancel(message.id);
      case 'timer': {
        const { id } = message;
        this.clock.set(message.ms, () => this.tell({ type: 'timer', id }));
        return;
      }
      case 'ping': return this.tell({ type: 'pong', n: message.n });
    }
  }

  private run(spec: RunSpec): void {
    const run = new ActiveRun(spec, this.tell);
    this.runs.set(spec.id, run);
    this.start(run).catch((error: unknown) => {
      if (error instanceof TooLarge) {
        return this.finish(run, { kind: 'out_of_memory', limitBytes: spec.limits.memory_bytes });
      }
      const { name, message } = error as Error;
      this.finish(run, name === 'CompileError' ? { kind: 'threw', name, message } : { kind: 'lost', reason: message });
    });
  }

  private async start(run: ActiveRun): Promise<void> {
    const { spec } = run;
    run.deadline = this.clock.set(STARTING_MS_MAX, () => this.finish(run, { kind: 'lost', reason: 'its Web Worker did not start' }));
    const isQuickJs = this.artifacts.needsQuickJs(spec);
    const { key, program } = await this.artifacts.program(spec);
    const engine = isQuickJs ? await this.engine : undefined;
    if (isQuickJs && engine === undefined) throw new Error('the JavaScript engine did not arrive');
    if (run.isOver) return;
    const guest = spec.language === 'js' && !isQuickJs ? this.native(spec) : this.warm.pop() ?? new Guest('engine');
    run.guest = guest;
    await guest.ready;
    if (run.isOver) return;
    guest.hear = (message) => {
      const ended = run.hear(message);
      if (ended !== undefined) this.finish(run, ended.end, ended.use, message.type === 'broken');
    };
    this.clock.clear(run.deadline);
    const { timeout_ms } = spec.limits;
    run.deadline = this.clock.set(timeout_ms, () =>
      this.finish(run, { kind: 'timed_out', limit: 'wall', limitMs: timeout_ms }));
    run.started();
    guest.begin(spec, key, program, engine);
  }

  private native(spec: RunSpec): Guest {
    this.hasRunNative = true;
    const at = spec.reuse ? this.kept.findIndex(({ artifact }) => artifact === spec.artifact) : -1;
    const kept = at >= 0 ? this.kept.splice(at, 1)[0] : undefined;
    return kept?.guest ?? this.spares.shift() ?? new Guest('native');
  }

  /** The one place where runs end. A Web Worker that cannot be trusted any more is ended with them. */
  private finish(run: ActiveRun, end: RunEnd, use?: Parameters<ActiveRun['finished']>[1], isBroken = false): void {
    if (run.isOver) return;
    this.clock.clear(run.deadline);
    this.runs.delete(run.spec.id);
    const { guest, spec } = run;
    if (guest !== undefined) {
      guest.hear = undefined;
      const ended = use !== undefined && !isBroken;
      if (ended && guest.kind === 'engine') this.warm.push(guest);
      else if (ended && spec.reuse) this.keep(spec.artifact, guest);
      else guest.end();
    }
    run.finished(end, use);
    this.refill();
  }

  private keep(artifact: string, guest: Guest): void {
    this.kept.push({ artifact, guest });
    if (this.kept.length > KEPT_MAX) this.kept.shift()?.guest.end();
  }

  private cancel(id: number): void {
    const run = this.runs.get(id);
    if (run !== undefined) this.finish(run, { kind: 'cancelled' });
  }

  private drop(artifact: string): void {
    this.artifacts.drop(artifact);
    for (let at = this.kept.length - 1; at >= 0; at--) {
      if (this.kept[at]?.artifact === artifact) this.kept.splice(at, 1)[0]?.guest.end();
    }
  }

  private resize(slots: number): void {
    this.slots = slots;
    while (this.warm.length > slots) this.warm.pop()?.end();
    this.refill();
  }

  /** One spare is made at once, the others when native JavaScript has been seen. */
  private refill(): void {
    const wanted = Math.min(this.slots, this.hasRunNative ? SPARES_MAX : 1);
    while (this.spares.length > wanted) this.spares.pop()?.end();
    while (this.spares.length < wanted) this.spares.push(new Guest('native'));
  }
}

addEventListener('message', (event) => {
  const [port] = event.ports;
  // Only the page that made this frame can be its parent.
  if (event.source === parent && port !== undefined) new Frame(port);
}, { once: true });
