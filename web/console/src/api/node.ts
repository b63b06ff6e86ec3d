// What a node can be asked, by noun.

import { ask, askJson } from "./ask";
import type {
  AttemptRecord,
  FunctionVersion,
  Logs,
  Manifest,
  NodeReport,
  Problem,
  Schedule,
  Task,
  TaskRequest,
  Worker,
} from "./schema";

/** A page of a list. */
export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
}

export interface TaskFilter {
  state?: string;
  name?: string;
  function?: string;
  label?: string;
  limit?: number;
  cursor?: string;
}

const segment = encodeURIComponent;

export const node = {
  report: (signal?: AbortSignal) => askJson<NodeReport>("/v1/node", { signal }),
  workers: (signal?: AbortSignal) => askJson<Page<Worker>>("/v1/workers", { signal }),
  resize: (id: string, slots: number) =>
    askJson<Worker>(`/v1/workers/${segment(id)}`, { method: "PATCH", json: { slots } }),
  metrics: async (signal?: AbortSignal) => (await ask("/metrics", { signal })).text(),
  /** Throws what keeps it from taking work. */
  ready: (signal?: AbortSignal) => ask("/readyz", { signal }),
};

export const tasks = {
  list: (filter: TaskFilter, signal?: AbortSignal) =>
    askJson<Page<Task>>("/v1/tasks", { query: { ...filter }, signal }),
  show: (id: string, signal?: AbortSignal) => askJson<Task>(`/v1/tasks/${segment(id)}`, { signal }),
  attempts: (id: string, signal?: AbortSignal) =>
    askJson<Page<AttemptRecord>>(`/v1/tasks/${segment(id)}/attempts`, { signal }),
  logs: (id: string, signal?: AbortSignal) =>
    askJson<Logs>(`/v1/tasks/${segment(id)}/logs`, { signal }),
  submit: (request: TaskRequest, key: string) =>
    askJson<Task>("/v1/tasks", {
      method: "POST",
      json: request,
      headers: { "Idempotency-Key": key },
    }),
  submitFile: (form: FormData, key: string) =>
    askJson<Task>("/v1/tasks", { method: "PUT", body: form, headers: { "Idempotency-Key": key } }),
  cancel: (id: string) => askJson<Task>(`/v1/tasks/${segment(id)}/cancel`, { method: "POST" }),
  remove: (id: string) => ask(`/v1/tasks/${segment(id)}`, { method: "DELETE" }),
};

export const functions = {
  list: (cursor?: string, signal?: AbortSignal) =>
    askJson<Page<FunctionVersion>>("/v1/functions", { query: { limit: 500, cursor }, signal }),
  show: (name: string, version?: number, signal?: AbortSignal) =>
    askJson<FunctionVersion>(`/v1/functions/${segment(name)}`, { query: { version }, signal }),
  remove: (name: string) => ask(`/v1/functions/${segment(name)}`, { method: "DELETE" }),
  deploy,
  call,
};

export const artifacts = {
  bytes: async (digest: string) => (await ask(`/v1/artifacts/${segment(digest)}`)).blob(),
};

export const schedules = {
  list: (signal?: AbortSignal) =>
    askJson<Page<Schedule>>("/v1/schedules", { query: { limit: 500 }, signal }),
  pause: (name: string) =>
    askJson<Schedule>(`/v1/schedules/${segment(name)}/pause`, { method: "POST" }),
  resume: (name: string) =>
    askJson<Schedule>(`/v1/schedules/${segment(name)}/resume`, { method: "POST" }),
  remove: (name: string) => ask(`/v1/schedules/${segment(name)}`, { method: "DELETE" }),
};

/** What became of a deployment. */
export interface Deployed {
  version: FunctionVersion;
  /** False where the code and its manifest equal the latest version. */
  isNew: boolean;
}

async function deploy(name: string, file: File, manifest: Manifest | null): Promise<Deployed> {
  const form = new FormData();
  form.set("file", file);
  if (manifest) form.set("manifest", JSON.stringify(manifest));
  const address = `/v1/functions/${segment(name)}`;
  const response = await ask(address, { method: "PUT", body: form });
  return { version: (await response.json()) as FunctionVersion, isNew: response.status === 201 };
}

export interface CallRequest {
  name: string;
  version?: number | undefined;
  export?: string | undefined;
  offload?: string | undefined;
  args: unknown[];
}

/** Where a call ran, and what that took. */
export interface Trace {
  ranOn: string;
  placement: string;
  /** Phases and how many milliseconds each took. */
  timing: [string, number][];
}

/** What a call gave. */
export interface Called extends Trace {
  /** The result as JSON text, or bytes. */
  value: { json: string } | { bytes: Blob };
  lines: { stream: string; text: string }[];
  /** There were lines before those. */
  isCut: boolean;
}

async function call(request: CallRequest, signal?: AbortSignal): Promise<Called> {
  const { name, version, offload, args } = request;
  const response = await ask(`/v1/functions/${segment(name)}/call`, {
    method: "POST",
    query: { version, export: request.export, offload },
    headers: { "Runabout-Want-Logs": "1" },
    json: args,
    signal,
  });
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  return {
    value: isJson ? { json: await response.text() } : { bytes: await response.blob() },
    lines: linesOf(response.headers.get("Runabout-Logs")),
    isCut: response.headers.has("Runabout-Logs-Cut"),
    ...traceOf(response.headers),
  };
}

/** What the answer to a call says of the call. */
export function traceOf(headers: Headers): Trace {
  return {
    ranOn: headers.get("Runabout-Ran-On") ?? "",
    placement: headers.get("Runabout-Placement") ?? "",
    timing: timingOf(headers.get("Server-Timing") ?? ""),
  };
}

function linesOf(header: string | null): Called["lines"] {
  if (!header) return [];
  const bytes = Uint8Array.from(atob(header), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** Reads `queue;dur=0.012, run;dur=22.9`. */
export function timingOf(header: string): [string, number][] {
  return header.split(",").flatMap((part): [string, number][] => {
    const [name, ...parameters] = part.trim().split(";");
    const duration = parameters.find((parameter) => parameter.trim().startsWith("dur="));
    const ms = Number(duration?.split("=")[1]);
    return name && Number.isFinite(ms) ? [[name, ms]] : [];
  });
}

/** The last lines a call wrote before it failed. */
export function outputOf(problem: Problem & Record<string, unknown>): string {
  return typeof problem.output === "string" ? problem.output : "";
}
