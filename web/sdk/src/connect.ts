//! Opens a node: joins the client, the page's own pool, the outbox and the worker sessions.

import { callNode, type Offload } from './client/calls.js';
import { follow } from './client/events.js';
import { Functions } from './client/functions.js';
import { Http, unreachable } from './client/http.js';
import { Outcomes } from './client/outcomes.js';
import { Handle } from './client/task-handle.js';
import { RunaboutError } from './errors.js';
import { resolveLimits, wantsExactLimits } from './limits.js';
import { Listeners } from './listeners.js';
import type { Letter } from './local/letter.js';
import { Letters, notHere } from './local/outbox.js';
import { Reach } from './local/reach.js';
import { runLetter } from './local/run-letter.js';
import { openStore, type Store } from './local/store.js';
import { kindOf, Placement, type Where } from './placement.js';
import { engineBytes } from './pool/engine.js';
import { openFrame } from './pool/link.js';
import { boundedSlots, defaultSlots, LocalPool } from './pool/pool.js';
import { examine, formOf, orderOf, runToEnd } from './runs.js';
import type {
  CallOptions, CallReport, ConnectOptions, EventsOptions, Mode, Node, NodeEvent, NodeEvents, Outbox, OutputLine,
  Pool, RunReport, RunRequest, SubmitOptions, TaskHandle, Unsubscribe, Value, Worker, WorkOptions,
} from './types.js';
import { failureOf, readArguments, valueOf, type Arguments } from './values.js';
import type { FunctionVersion, Manifest, TaskRequest } from './wire.js';
import { openSession, type Session } from './worker/session.js';

const DEFAULT_URL = 'http://127.0.0.1:7878';
/** What a call is taken to cost where it was lost: more than anything that was not. */
const LOST_MS = 3_600_000;

/** A node at `url`: where the page came from, if left out; outside of a page, this machine's. */
export function connect(url?: string, options: ConnectOptions = {}): Node {
  const address = url ?? (typeof location === 'undefined' ? DEFAULT_URL : location.origin);
  return new RunaboutNode(address.replace(/\/+$/, ''), options);
}

class RunaboutNode implements Node {
  readonly pool: Pool;
  readonly outbox: Outbox;
  private readonly ownPool: LocalPool;
  private readonly letters: Letters;
  private readonly http: Http;
  private readonly reach: Reach;
  private readonly store: Store;
  private readonly functions: Functions;
  private readonly outcomes: Outcomes;
  private readonly placement = new Placement();
  private readonly lines = new Listeners<OutputLine>();
  private readonly sessions = new Set<Session>();

  constructor(readonly url: string, private readonly options: ConnectOptions) {
    this.reach = new Reach(url, options.offline === true);
    this.http = new Http(url, options.token, this.reach);
    this.store = openStore(url);
    this.functions = new Functions(this.http, this.store);
    this.outcomes = new Outcomes(this.http);
    const slots = boundedSlots(options.pool?.slots ?? defaultSlots());
    this.ownPool = new LocalPool(slots, openFrame(options.frameUrl), engineBytes);
    this.pool = this.ownPool;
    this.letters = new Letters(`runabout ${url}`, newKey(), this.store, this.http, this.reach,
      async (letter, handle) => await this.runLetter(letter, handle));
    this.outbox = this.letters;
  }

  get mode(): Mode {
    return this.reach.mode;
  }

  on<E extends keyof NodeEvents>(_event: E, listener: (value: NodeEvents[E]) => void): Unsubscribe {
    return this.reach.on(listener);
  }

  onLog(listener: (line: OutputLine) => void): Unsubscribe {
    return this.lines.add(listener);
  }

  goOnline(): void {
    this.reach.goOnline();
  }

  fn<F extends (...args: never[]) => unknown>(
    name: string, options?: CallOptions,
  ): (...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>> {
    type Result = Awaited<ReturnType<F>>;
    return (...args) => this.call(name, args as readonly Value[], options) as Promise<unknown> as Promise<Result>;
  }

  async call(name: string, args: readonly Value[] = [], options: CallOptions = {}): Promise<Value> {
    return (await this.callWithReport(name, args, options)).value;
  }

  async callWithReport(name: string, args: readonly Value[] = [], options: CallOptions = {}): Promise<CallReport> {
    const given = readArguments(args);
    switch (options.place ?? 'auto') {
      case 'tab': return await this.callHere(name, given, options, 'tab; reason=asked');
      case 'here': return await this.callThere(name, given, '0', options);
      case 'upstream': return await this.callThere(name, given, '1', options);
      default: return await this.callAnywhere(name, args, given, options);
    }
  }

  private async callAnywhere(
    name: string, args: readonly Value[], given: Arguments, options: CallOptions,
  ): Promise<CallReport> {
    if (this.mode === 'local') return await this.callHere(name, given, options, 'tab; reason=node_unreachable');
    const kind = kindOf(options.version === undefined ? name : `${name}@${options.version}`, options.export, args);
    const where = this.canRunHere() ? this.placement.choose(kind, this.ownPool) : 'node';
    if (where === 'tab' && (await this.mayRunHere(name, options))) {
      try {
        return await this.timed(kind, 'tab', async () =>
          await this.callHere(name, given, options, 'tab; reason=expected_sooner'));
      } catch (error) {
        // The page could not run it: the node does, and the page is not asked again.
        if (!(error instanceof RunaboutError) || error.code !== 'lost') throw error;
        this.placement.observe(kind, 'tab', LOST_MS);
      }
    }
    try {
      const offload = options.place === 'auto' ? 'auto' : undefined;
      return await this.timed(kind, 'node', async () => await this.callThere(name, given, offload, options));
    } catch (error) {
      // It may have begun there: only what does no harm twice is done again here.
      const isLost = error instanceof RunaboutError && error.code === 'unreachable';
      if (!isLost || !this.canRunHere() || !(await this.isPure(name, options))) throw error;
      return await this.callHere(name, given, options, 'tab; reason=node_unreachable');
    }
  }

  private canRunHere(): boolean {
    return typeof document !== 'undefined' && this.ownPool.slots > 0;
  }

  /** Whether the choice between this tab and the node is this page's: a manifest that says where its
   * calls run, and a caller who does not, leave it to the node. */
  private async mayRunHere(name: string, options: CallOptions): Promise<boolean> {
    try {
      const { manifest } = await this.functions.find(name, options.version);
      const isOpen = options.place === 'auto' || leavesOpen(manifest);
      return isOpen && manifest.pure !== false;
    } catch {
      return false;
    }
  }

  private async isPure(name: string, options: CallOptions): Promise<boolean> {
    try {
      return (await this.functions.find(name, options.version)).manifest.pure !== false;
    } catch {
      return false;
    }
  }

  private async timed(kind: string, where: Where, work: () => Promise<CallReport>): Promise<CallReport> {
    const began = performance.now();
    const report = await work();
    this.placement.observe(kind, where, performance.now() - began);
    return report;
  }

  private async callThere(
    name: string, args: Arguments, offload: Offload, options: CallOptions,
  ): Promise<CallReport> {
    if (this.mode === 'local' && this.options.offline === true) throw unreachable(this.url);
    try {
      const report = await callNode(this.http, name, args, offload, options);
      this.tell(report.output, options);
      return report;
    } catch (error) {
      const output = (error as { output?: OutputLine[] }).output;
      if (output !== undefined) this.tell(output, options);
      throw error;
    }
  }

  private async callHere(
    name: string, args: Arguments, options: CallOptions, placement: string,
  ): Promise<CallReport> {
    const began = performance.now();
    const version = await this.functions.find(name, options.version).catch((error: unknown) => {
      throw isUnreachable(error) ? notHere(`the function ${name}`) : error;
    });
    const artifact = await this.functions.artifact(version.digest, version.language);
    const prepared = performance.now();
    const { outcome, usage, output, reason } = await runToEnd(this.ownPool, orderOf(version, artifact, args, options), {
      line: (line) => this.tell([line], options),
    }, options.signal);
    if (reason !== undefined) throw new RunaboutError(`the page could not run it: ${reason}`, { code: 'lost', outcome });
    if (outcome.kind !== 'returned') throw failureOf(outcome);
    const total = performance.now() - began;
    const timing = { prepare: prepared - began, queue: total - (prepared - began) - usage.wall_ms, run: usage.wall_ms, total };
    return { value: valueOf(outcome), ranOn: 'tab', placement, timing, usage, output };
  }

  private tell(lines: readonly OutputLine[], options: CallOptions): void {
    for (const line of lines) {
      options.onLog?.(line);
      this.lines.tell(line);
    }
  }

  async run(request: RunRequest): Promise<RunReport> {
    const artifact = await examine(request.code, request.language);
    const isSource = artifact.language === 'js';
    const form = request.form ?? (isSource ? await formOf(new TextDecoder().decode(artifact.bytes)) : 'module');
    const order = {
      artifact,
      form,
      engine: request.engine ?? (wantsExactLimits(request.limits) ? 'quickjs' : 'native'),
      reuse: false,
      export: request.export,
      args: readArguments(request.args ?? []),
      stdin: request.stdin,
      limits: resolveLimits(request.limits),
      source: 'run',
    } as const;
    return await runToEnd(this.ownPool, order, {
      line: (line) => { request.onLog?.(line); this.lines.tell(line); },
      progress: (progress) => request.onProgress?.(progress),
    }, request.signal);
  }

  async submit(request: TaskRequest, options: SubmitOptions = {}): Promise<TaskHandle> {
    const id = options.idempotencyKey ?? newKey();
    const handle = new Handle(this.http, this.outcomes, id, 'local');
    await this.letters.take(request, id, handle);
    return handle;
  }

  task(id: string): TaskHandle {
    return new Handle(this.http, this.outcomes, id, 'accepted');
  }

  private async runLetter(letter: Letter, handle: Handle | undefined): Promise<Partial<Letter> | undefined> {
    if (!this.canRunHere()) return undefined;
    return await runLetter(letter, handle, this.ownPool, this.functions, (line) => this.lines.tell(line));
  }

  work(options: WorkOptions = {}): Worker {
    const session = openSession({
      url: this.url,
      token: this.options.token,
      name: options.name ?? this.options.name,
      slots: options.slots ?? this.ownPool.slots,
      pool: this.ownPool,
      functions: this.functions,
    });
    this.sessions.add(session);
    session.on('change', () => { if (session.state === 'stopped') this.sessions.delete(session); });
    return session;
  }

  resize(slots: number): void {
    this.ownPool.resize(slots);
  }

  async pin(...names: string[]): Promise<void> {
    await Promise.all(names.map(async (name) => {
      const version: FunctionVersion = await this.functions.find(name);
      await this.functions.artifact(version.digest, version.language);
    }));
  }

  async request(path: string, init?: RequestInit): Promise<Response> {
    return await this.http.send(path, init);
  }

  events(options?: EventsOptions): AsyncIterable<NodeEvent> {
    return follow(this.http, options);
  }

  async close(): Promise<void> {
    await Promise.all([...this.sessions].map(async (session) => await session.stop()));
    this.letters.close();
    this.outcomes.close();
    this.ownPool.close();
    this.reach.close();
    this.store.close();
  }
}

/** A rule, or a place on the node's side, is the node's to follow. */
function leavesOpen({ place, offload }: Manifest): boolean {
  return ['auto', 'tab'].includes(place ?? 'auto') && ['auto', 'query'].includes(offload ?? 'auto');
}

function isUnreachable(error: unknown): boolean {
  return error instanceof RunaboutError && error.code === 'unreachable';
}

/** A key for a submission. `randomUUID` is missing on pages over plain HTTP. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
