// Runs a task once more: the same code, by its function or its artifact, with the same arguments.

import { newKey } from "../text/key";
import { artifacts, tasks } from "./node";
import type { Task, TaskRequest } from "./schema";

/** What a task was asked for, as far as its record tells. */
export async function runAgain(task: Task): Promise<Task> {
  const key = newKey();
  if (task.function) return tasks.submit({ ...shared(task), function: task.function }, key);
  const bytes = await artifacts.bytes(task.digest);
  if (task.language === "js") {
    return tasks.submit({ ...shared(task), source: await bytes.text() }, key);
  }
  return tasks.submitFile(form(task, bytes), key);
}

function shared(task: Task): TaskRequest {
  const { name, labels, args, args_encoding, priority } = task;
  return {
    args,
    ...(args_encoding ? { args_encoding } : {}),
    ...(task.export ? { export: task.export } : {}),
    ...(name ? { name } : {}),
    // A schedule's labels are the schedule's to set.
    ...(labels && !("schedule" in labels) ? { labels } : {}),
    ...(priority !== 0 ? { priority } : {}),
    ...(task.max_attempts > 1 ? { retries: task.max_attempts - 1 } : {}),
  };
}

function form(task: Task, bytes: Blob): FormData {
  const form = new FormData();
  form.set("file", new File([bytes], "task.wasm", { type: "application/wasm" }));
  for (const [name, value] of Object.entries(shared(task))) {
    form.set(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return form;
}
