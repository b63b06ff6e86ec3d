// Streams of server-sent events. Read with fetch, because an EventSource cannot show a token.

import { createParser } from "eventsource-parser";

import { Refused, Unreachable, ask } from "./ask";
import { pulse } from "./pulse";

export interface NodeEvent {
  /** `state`, `progress`, `log`, `truncated`, `outcome`, `deleted`, `reset`. */
  kind: string;
  /** JSON, not read yet: of a stream of many, most are only counted. */
  data: string;
}

export interface Listening {
  onEvent: (event: NodeEvent) => void;
  /** The kinds after which there is nothing to come. */
  lastKinds?: string[];
  /** Whether events arrive at this moment. */
  onLink?: (isOpen: boolean) => void;
  /** What keeps the stream from ever coming. */
  onRefused?: (refused: Refused) => void;
}

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;

/**
 * Listens until the signal aborts, or a stream that has an end has ended. Cut off, it goes on after
 * the last event it saw.
 */
export async function follow(path: string, listening: Listening, signal: AbortSignal) {
  let lastId = "";
  let pauseMs = PAUSE_MS_MIN;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = lastId === "" ? {} : { "Last-Event-ID": lastId };
      const response = await ask(path, { headers, signal });
      if (response.status === 204) return;
      listening.onLink?.(true);
      const isEnded = await read(response, listening, (id) => {
        lastId = id;
        pauseMs = PAUSE_MS_MIN;
      });
      if (isEnded) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.problem.status < 500) {
        listening.onRefused?.(error);
        return;
      }
      if (!(error instanceof Refused || error instanceof Unreachable || isCutOff(error))) throw error;
    } finally {
      listening.onLink?.(false);
    }
    await pause(pauseMs, signal);
    pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
  }
}

/** Whether the stream said that it is over. */
async function read(
  response: Response,
  { onEvent, lastKinds = [] }: Listening,
  onId: (id: string) => void,
): Promise<boolean> {
  let isEnded = false;
  const parser = createParser({
    onEvent: ({ event, id, data }) => {
      if (id !== undefined) onId(id);
      const kind = event ?? "message";
      if (lastKinds.includes(kind)) isEnded = true;
      onEvent({ kind, data });
    },
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return isEnded;
    pulse.beat();
    parser.feed(value);
  }
}

/** A connection that broke while its body was read. */
function isCutOff(error: unknown): boolean {
  return error instanceof TypeError || error instanceof DOMException;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
