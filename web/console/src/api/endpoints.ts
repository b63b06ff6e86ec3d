// Endpoints: URL paths of a user's own, what they are bound to, and requests to them.

import { ask, askJson } from "./ask";
import { type Page, type Trace, traceOf } from "./node";
import type { Endpoint, EndpointRequest } from "./schema";

/** What was put, and whether it is new. */
export interface Set {
  endpoint: Endpoint;
  isNew: boolean;
}

/** A request to an endpoint. */
export interface Trial {
  method: "GET" | "POST";
  /** The path with its parameters filled in, and the query. */
  target: string;
  /** The parameters of a POST. */
  json?: unknown;
}

/** What an endpoint answered. */
export interface Answered extends Trace {
  status: number;
  /** Without parameters: `application/json`. */
  mediaType: string;
  body: Blob;
  /** What became of the call beside a document: `shared; ran=25.4ms`. */
  compute: string;
}

const ADDRESS = "/v1/endpoints";

export const endpoints = {
  async all(signal?: AbortSignal): Promise<Endpoint[]> {
    const items: Endpoint[] = [];
    let cursor: string | undefined;
    do {
      const page = await askJson<Page<Endpoint>>(ADDRESS, { query: { limit: 500, cursor }, signal });
      items.push(...page.items);
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
    return items;
  },
  async set(request: EndpointRequest): Promise<Set> {
    const response = await ask(ADDRESS, { method: "PUT", json: request });
    return { endpoint: (await response.json()) as Endpoint, isNew: response.status === 201 };
  },
  remove: (path: string) => ask(ADDRESS, { method: "DELETE", query: { path } }),
  attempt,
};

async function attempt({ method, target, json }: Trial, signal?: AbortSignal): Promise<Answered> {
  const response = await ask(target, { method, json, signal });
  const [mediaType = ""] = (response.headers.get("Content-Type") ?? "").split(";");
  return {
    status: response.status,
    mediaType,
    body: await response.blob(),
    compute: response.headers.get("Runabout-Compute") ?? "",
    ...traceOf(response.headers),
  };
}
