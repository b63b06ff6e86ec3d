//! Server-sent events over fetch, so that they carry the token and work outside of pages. Cut off, a
//! stream is asked for again from the last event that was seen.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { EventsOptions, Json, NodeEvent } from '../types.js';
import { problemOf, type Http } from './http.js';

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;

/** Goes on until the node says that there is no more, the caller stops, or the node refuses. */
export async function* follow(
  http: Http, options: EventsOptions = {}, opened: () => void = () => undefined,
): AsyncGenerator<NodeEvent, void, undefined> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  const state: { lastId?: string; retryMs: number } = { retryMs: RETRY_MS_MIN };
  try {
    while (!signal.aborted) {
      const response = await open(http, options, state, signal);
      if (response === 'end') return;
      if (response !== undefined) {
        opened();
        yield* read(response, state);
      }
      if (!signal.aborted) await pause(state, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    stop.abort();
  }
}

async function open(
  http: Http, options: EventsOptions, state: { lastId?: string }, signal: AbortSignal,
): Promise<Response | 'end' | undefined> {
  const base = options.task === undefined ? '/v1/events' : `/v1/tasks/${encodeURIComponent(options.task)}/events`;
  const query = options.only === undefined ? '' : `?${new URLSearchParams({ only: options.only.join(',') })}`;
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (state.lastId !== undefined) headers['Last-Event-ID'] = state.lastId;
  let response: Response;
  try {
    response = await http.send(`${base}${query}`, { headers, signal, cache: 'no-store' });
  } catch {
    return undefined;
  }
  if (response.status === 204) return 'end';
  // It is full, or about to stop: the same may succeed later.
  if (response.status === 503) return undefined;
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function* read(
  response: Response, state: { lastId?: string; retryMs: number },
): AsyncGenerator<NodeEvent, void, undefined> {
  if (response.body === null) return;
  const reader = response.body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>)
    .pipeThrough(new EventSourceParserStream())
    .getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      state.retryMs = RETRY_MS_MIN;
      if (value.id !== undefined) state.lastId = value.id;
      yield { type: value.event ?? 'message', id: value.id, data: JSON.parse(value.data) as Json };
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    // Cut off: the caller asks again.
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

async function pause(state: { retryMs: number }, signal: AbortSignal): Promise<void> {
  const ms = state.retryMs;
  state.retryMs = Math.min(ms * 2, RETRY_MS_MAX);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms * (0.5 + Math.random() / 2));
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
