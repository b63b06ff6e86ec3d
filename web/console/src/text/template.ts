// The templates of endpoints, as far as a form for their parameters needs to read them. Whether they
// are right is the node's to say: what is not understood here has no parameters.

import type { ComputeRequest, EndpointRequest } from "../api/schema";

/** A parameter, and what it is if a request does not say; null if every request has to. */
export interface Parameter {
  name: string;
  fallback: string | null;
  isOfPath: boolean;
}

/** What is there without the request's doing. */
const GIVEN = "document";

/** The parameters of an endpoint, those of its path first. */
export function parametersOf(endpoint: EndpointRequest): Parameter[] {
  const found = new Map<string, Parameter>();
  const add = (text: string, isOfPath: boolean) => {
    for (const { name, fallback } of parametersIn(text)) {
      const known = found.get(name);
      if (!known) found.set(name, { name, fallback, isOfPath });
      else known.fallback ??= known.isOfPath ? null : fallback;
    }
  };
  add(endpoint.path, true);
  if (typeof endpoint.document === "string") add(endpoint.document, false);
  for (const text of texts(endpoint)) add(text, false);
  for (const text of texts(endpoint.compute)) {
    for (const one of parametersIn(text)) if (one.name !== GIVEN) add(`{${written(one)}}`, false);
  }
  return [...found.values()];
}

function texts(call: EndpointRequest | ComputeRequest | null | undefined): string[] {
  return (call?.args ?? []).filter((one): one is string => typeof one === "string");
}

function written({ name, fallback }: { name: string; fallback: string | null }): string {
  return fallback === null ? name : `${name}=${fallback}`;
}

/** The parameters of one template: `{n}`, `{n=30}`; `{{` is a brace that means itself. */
export function parametersIn(text: string): { name: string; fallback: string | null }[] {
  const found = [];
  let at = 0;
  while (at < text.length) {
    if (text.startsWith("{{", at) || text.startsWith("}}", at)) {
      at += 2;
    } else if (text[at] === "{") {
      const end = closing(text, at + 1);
      if (end === -1) break;
      const [name = "", ...rest] = text.slice(at + 1, end).split("=");
      if (/^[A-Za-z_]\w*$/.test(name)) found.push({ name, fallback: rest.length === 0 ? null : rest.join("=") });
      at = end + 1;
    } else {
      at += 1;
    }
  }
  return found;
}

/** Where the brace closes that was opened just before `from`; a default may hold braces in pairs. */
function closing(text: string, from: number): number {
  let open = 0;
  for (let at = from; at < text.length; at++) {
    if (text[at] === "{") open += 1;
    else if (text[at] === "}" && open === 0) return at;
    else if (text[at] === "}") open -= 1;
  }
  return -1;
}

/** What the node makes of a text in a query: JSON where it parses as JSON, else the text. */
export function valueOfText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What kind of value that is, for a person. */
export function kindOfText(text: string): string {
  const value = valueOfText(text);
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  return typeof value === "string" ? "text" : typeof value;
}

/** The path with its parameters in their places, and the others as a query; empty ones are left out. */
export function targetOf(path: string, values: Record<string, string>): string {
  const inPath = new Set<string>();
  const segments = path.split("/").map((segment) => {
    const [parameter] = parametersIn(segment);
    if (!parameter) return segment;
    inPath.add(parameter.name);
    return encodeURIComponent(values[parameter.name] ?? "");
  });
  const rest = Object.entries(values).filter(([name, value]) => !inPath.has(name) && value !== "");
  const query = rest.length === 0 ? "" : `?${new URLSearchParams(rest)}`;
  return segments.join("/") + query;
}
