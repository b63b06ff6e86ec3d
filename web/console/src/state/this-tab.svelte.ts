// This tab as a place where runs happen: as a worker for the node, if the person lets it, and for
// its own runs while the node cannot be reached.

import type { Mode, Node, OutboxEntry, Worker, WorkerState } from "runabout";
import frameUrl from "runabout/frame.html?url";

import { access } from "../api/access.svelte";

const CHOICE_KEY = "runabout.tab";
const SLOTS_KEY = "runabout.tab.slots";
const SLOTS_MAX = 64;

export type Choice = "on" | "off" | "unasked";

/** A node on this machine is the person's own: its console may use the tab without asking. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/** As many as the package would choose: the processor's cores, but four at most. */
export function defaultSlots(cores: number): number {
  return Math.max(1, Math.min(cores || 1, 4));
}

class ThisTab {
  choice = $state<Choice>(readChoice());
  slots = $state(readSlots());
  state = $state<WorkerState>("stopped");
  /** Its id on the node, once it has one. */
  id = $state("");
  running = $state(0);
  finished = $state(0);
  /** Why it does not work, if it should. */
  reason = $state("");
  mode = $state<Mode>("connected");
  /** Submissions that the node does not have yet. */
  outbox = $state.raw<OutboxEntry[]>([]);

  #node: Promise<Node> | null = null;
  #token = "";
  #worker: Worker | null = null;

  /** Whether it is to work for the node. */
  get isOn(): boolean {
    return this.choice === "on" || (this.choice === "unasked" && isLoopback(location.hostname));
  }

  /** Whether the person has to be asked first. */
  get isToBeAsked(): boolean {
    return this.choice === "unasked" && !isLoopback(location.hostname);
  }

  /** The client; what it needs is loaded when it is first asked for. */
  node(): Promise<Node> {
    if (this.#node && this.#token !== access.token) {
      void this.#node.then((node) => node.close());
      this.#node = null;
      this.#worker = null;
    }
    this.#token = access.token;
    this.#node ??= this.#open();
    return this.#node;
  }

  async #open(): Promise<Node> {
    const { connect } = await import("runabout");
    const node = connect(location.origin, {
      frameUrl,
      name: nameOfBrowser(navigator.userAgent),
      pool: { slots: this.slots },
      ...(access.token === "" ? {} : { token: access.token }),
    });
    this.mode = node.mode;
    node.on("mode", (mode) => (this.mode = mode));
    this.outbox = await node.outbox.list();
    node.outbox.on("change", (entries) => (this.outbox = entries));
    return node;
  }

  /** Does what was chosen. */
  async start() {
    if (this.isOn) await this.#work();
  }

  async choose(isOn: boolean) {
    this.choice = isOn ? "on" : "off";
    localStorage.setItem(CHOICE_KEY, this.choice);
    if (isOn) {
      await this.#work();
    } else {
      await this.#worker?.stop();
      this.#worker = null;
    }
  }

  async resize(slots: number) {
    this.slots = Math.max(1, Math.min(slots, SLOTS_MAX));
    localStorage.setItem(SLOTS_KEY, String(this.slots));
    (await this.node()).resize(this.slots);
    this.#worker?.resize(this.slots);
  }

  async #work() {
    const node = await this.node();
    if (!this.isOn || this.#worker) return;
    const worker = node.work({ slots: this.slots });
    this.#worker = worker;
    worker.on("change", () => this.#look(worker));
    this.#look(worker);
  }

  #look(worker: Worker) {
    this.state = worker.state;
    this.id = worker.id ?? "";
    this.running = worker.running;
    this.finished = worker.finished;
    this.reason = worker.reason ?? "";
    // The node may have resized it.
    if (worker.state === "working") this.slots = Math.max(1, worker.slots);
  }
}

/** What others see it as: `Chromium on Linux`. */
export function nameOfBrowser(userAgent: string): string {
  const browsers: [RegExp, string][] = [
    [/Edg\//, "Edge"],
    [/Firefox\//, "Firefox"],
    [/Chrom(e|ium)\//, "Chromium"],
    [/Safari\//, "Safari"],
  ];
  const systems: [RegExp, string][] = [
    [/Windows/, "Windows"],
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Mac OS/, "macOS"],
    [/Linux/, "Linux"],
  ];
  const browser = browsers.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "A browser";
  const system = systems.find(([pattern]) => pattern.test(userAgent))?.[1];
  return system ? `${browser} on ${system}` : browser;
}

function readChoice(): Choice {
  const kept = localStorage.getItem(CHOICE_KEY);
  return kept === "on" || kept === "off" ? kept : "unasked";
}

function readSlots(): number {
  const kept = Number(localStorage.getItem(SLOTS_KEY));
  return Number.isInteger(kept) && kept >= 1 && kept <= SLOTS_MAX
    ? kept
    : defaultSlots(navigator.hardwareConcurrency);
}

export const thisTab = new ThisTab();
