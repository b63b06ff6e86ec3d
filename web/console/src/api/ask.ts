// Requests to the node that served this page. What goes wrong is one of two errors: the node said
// no, or it did not answer.

import { access } from "./access.svelte";
import { pulse } from "./pulse";
import type { Problem } from "./schema";

/** A problem as it comes, with what belongs to its code. */
export type NodeProblem = Problem & Record<string, unknown>;

/** The node answered, and said no. */
export class Refused extends Error {
  constructor(
    readonly problem: NodeProblem,
    /** Seconds after which it may be asked again, if it said so. */
    readonly retryAfterS: number | null,
  ) {
    super(problem.detail);
  }

  get code(): string {
    return this.problem.code;
  }

  /** Whether it was the node itself that answered, and not a proxy that cannot reach it. */
  get isOfNode(): boolean {
    return !/^http_50[234]$/.test(this.code);
  }
}

/** The node did not answer. */
export class Unreachable extends Error {
  constructor() {
    super("the node does not answer");
  }
}

export interface Question {
  method?: string;
  query?: Record<string, string | number | undefined>;
  headers?: Record<string, string>;
  /** An object is sent as JSON, everything else as it is. */
  json?: unknown;
  body?: BodyInit;
  signal?: AbortSignal | undefined;
}

/**
 * The node's answer.
 *
 * @throws {Refused} it said no
 * @throws {Unreachable} it did not answer
 */
export async function ask(path: string, question: Question = {}): Promise<Response> {
  const headers: Record<string, string> = { ...access.headers(), ...question.headers };
  const init: RequestInit = { headers, method: question.method ?? "GET" };
  if (question.signal) init.signal = question.signal;
  if (question.json !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(question.json);
  } else if (question.body !== undefined) {
    init.body = question.body;
  }
  const response = await send(path + queryText(question.query), init);
  if (response.ok) {
    pulse.beat();
    return response;
  }
  const refused = await refusal(response);
  if (refused.isOfNode) pulse.beat();
  if (response.status === 401) access.isRefused = true;
  throw refused;
}

/**
 * The node's answer as JSON.
 *
 * @throws {Refused} it said no
 * @throws {Unreachable} it did not answer, or not to the end
 */
export async function askJson<T>(path: string, question: Question = {}): Promise<T> {
  const response = await ask(path, question);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (question.signal?.aborted) throw error;
    throw new Unreachable();
  }
}

async function send(address: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(address, { cache: "no-store", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable();
  }
}

/** Builds a query; what is empty is left out. */
export function queryText(query: Question["query"] = {}): string {
  const known = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  if (known.length === 0) return "";
  return `?${new URLSearchParams(known.map(([name, value]) => [name, String(value)]))}`;
}

async function refusal(response: Response): Promise<Refused> {
  const retryAfter = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const problem = await problemOf(response);
  return new Refused(problem, Number.isFinite(retryAfter) ? retryAfter : null);
}

async function problemOf(response: Response): Promise<NodeProblem> {
  const type = response.headers.get("Content-Type") ?? "";
  if (type.includes("json")) {
    try {
      return (await response.json()) as NodeProblem;
    } catch {
      // Cut off, say; then the status has to do.
    }
  }
  // A proxy in front of the node answers in its own words.
  const { status, statusText } = response;
  const detail = `the answer was ${status} ${statusText}`.trim();
  return { type: "", title: statusText, status, code: `http_${status}`, detail };
}
