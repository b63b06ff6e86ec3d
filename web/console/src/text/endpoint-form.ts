// An endpoint as a form holds it, and as the node is asked for it.

import type { ComputeMode, ComputeRequest, Endpoint, EndpointMethod, EndpointRequest } from "../api/schema";

/** Where calls run: a word, or `rule` with the rule beside it. */
export type Where = "" | "0" | "1" | "auto" | "query" | "rule";

/** Everything a person may write, whether it counts at the moment or not. */
export interface EndpointForm {
  path: string;
  target: "function" | "document";
  document: string;
  /** The function, or that beside the document; empty if there is none. */
  function: string;
  export: string;
  /** One argument a line. */
  args: string;
  where: Where;
  rule: string;
  takesGet: boolean;
  takesPost: boolean;
  mode: ComputeMode;
  respond: boolean;
}

export const EMPTY: EndpointForm = {
  path: "",
  target: "function",
  document: "",
  function: "",
  export: "",
  args: "",
  where: "",
  rule: "",
  takesGet: true,
  takesPost: true,
  mode: "each",
  respond: false,
};

const WORDS: readonly string[] = ["0", "1", "auto", "query"];

/** The form for what is there. */
export function formOf(endpoint: Endpoint | EndpointRequest): EndpointForm {
  const isDocument = typeof endpoint.document === "string";
  const call = isDocument ? endpoint.compute : endpoint;
  const methods = endpoint.methods ?? [];
  return {
    path: endpoint.path,
    target: isDocument ? "document" : "function",
    document: endpoint.document ?? "",
    function: call?.function ?? "",
    export: call?.export ?? "",
    args: (call?.args ?? []).map(lineOf).join("\n"),
    ...whereOf(call?.offload ?? ""),
    takesGet: methods.length === 0 || methods.includes("GET"),
    takesPost: isDocument ? false : methods.length === 0 || methods.includes("POST"),
    mode: endpoint.compute?.mode ?? "each",
    respond: endpoint.compute?.respond ?? false,
  };
}

/** What the node is asked for; what was left empty is left out. */
export function requestOf(form: EndpointForm): EndpointRequest {
  const path = form.path.trim();
  if (form.target === "document") {
    const compute: ComputeRequest | null =
      form.function.trim() === ""
        ? null
        : { ...callOf(form), function: form.function.trim(), mode: form.mode, respond: form.respond };
    return { path, document: form.document.trim(), ...(compute ? { compute } : {}) };
  }
  const methods: EndpointMethod[] = [...(form.takesGet ? ["GET" as const] : []), ...(form.takesPost ? ["POST" as const] : [])];
  return { path, ...callOf(form), function: form.function.trim(), methods };
}

function callOf(form: EndpointForm): Pick<EndpointRequest, "export" | "args" | "offload"> {
  const args = argsOf(form.args);
  const offload = form.where === "rule" ? form.rule.trim() : form.where;
  return {
    ...(form.export.trim() === "" ? {} : { export: form.export.trim() }),
    ...(args.length === 0 ? {} : { args }),
    ...(offload === "" ? {} : { offload }),
  };
}

function whereOf(offload: string): Pick<EndpointForm, "where" | "rule"> {
  if (offload === "" || WORDS.includes(offload)) return { where: offload as Where, rule: "" };
  return { where: "rule", rule: offload };
}

/** Arguments as they are written, one a line: JSON where a line parses as JSON, else a template. */
export function argsOf(text: string): unknown[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line): unknown => (isJson(line) ? JSON.parse(line) : line.trim()));
}

function lineOf(argument: unknown): string {
  if (typeof argument !== "string") return JSON.stringify(argument);
  const isPlain = argument.trim() === argument && argument !== "" && !argument.includes("\n");
  return isPlain && !isJson(argument) ? argument : JSON.stringify(argument);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
