//! Requests to the node: its token, its problems as errors, and whether it was reached at all.

import { RunaboutError } from '../errors.js';
import type { Json } from '../types.js';
import type { Outcome } from '../wire.js';

export interface HttpEvents {
  /** An answer came, whatever it was. */
  reached(): void;
  /** None came. */
  missed(): void;
}

export class Http {
  constructor(
    readonly url: string,
    private readonly token: string | undefined,
    private readonly events: HttpEvents,
  ) {}

  /** Any answer of the node; `unreachable` if there is none. */
  async send(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== undefined) headers.set('Authorization', `Bearer ${this.token}`);
    let response: Response;
    try {
      response = await fetch(`${this.url}${path}`, { ...init, headers });
    } catch (error) {
      if (init.signal?.aborted === true) throw aborted(init.signal);
      this.events.missed();
      throw unreachable(this.url, error);
    }
    this.events.reached();
    return response;
  }

  /** A good answer; problems are thrown. */
  async ok(path: string, init?: RequestInit): Promise<Response> {
    const response = await this.send(path, init);
    if (!response.ok) throw await problemOf(response);
    return response;
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    const response = await this.ok(path, init);
    return (await body(this.url, () => response.json())) as T;
  }

  async bytes(path: string, init?: RequestInit): Promise<Uint8Array> {
    const response = await this.ok(path, init);
    return new Uint8Array(await body(this.url, () => response.arrayBuffer()));
  }
}

/** Reads a body, which may break off. */
async function body<T>(url: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw unreachable(url, error);
  }
}

export function unreachable(url: string, cause?: unknown): RunaboutError {
  return new RunaboutError(`the node at ${url} cannot be reached`, { code: 'unreachable', cause });
}

export function aborted(signal: AbortSignal): RunaboutError {
  return new RunaboutError('aborted by the caller', { code: 'aborted', cause: signal.reason });
}

/** What a problem means, be it the node's own or that of something before it. */
export async function problemOf(response: Response): Promise<RunaboutError> {
  const { status } = response;
  let problem: { [key: string]: Json } = {};
  try {
    problem = (await response.json()) as typeof problem;
  } catch {
    // A proxy's page, or an answer that broke off: the status has to do.
  }
  const code = typeof problem['code'] === 'string' ? problem['code'] : `http_${status}`;
  const detail = problem['detail'] ?? problem['title'] ?? `the node answered ${status}`;
  return new RunaboutError(String(detail), {
    code, status, problem, outcome: problem['outcome'] as Outcome | undefined,
  });
}
