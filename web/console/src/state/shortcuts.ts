// Keys that work on every page. None of them has a meaning while a person types into a field.

import { go } from "./route.svelte";

export interface Shortcut {
  keys: string;
  does: string;
}

/** The pages in the order of the navigation; the number of each is its key. */
export const PAGES = [
  { page: "overview", title: "Overview" },
  { page: "run", title: "Run" },
  { page: "tasks", title: "Tasks" },
  { page: "workers", title: "Workers" },
  { page: "functions", title: "Functions" },
  { page: "endpoints", title: "Endpoints" },
  { page: "schedules", title: "Schedules" },
  { page: "documents", title: "Documents" },
  { page: "placement", title: "Placement" },
] as const;

export const SHORTCUTS: Shortcut[] = [
  ...PAGES.map(({ title }, index) => ({ keys: `${index + 1}`, does: title })),
  { keys: "Ctrl Enter", does: "Run what is in the editor; save a document" },
  { keys: "/", does: "To the filter of a list" },
  { keys: "j k", does: "Down and up in a list" },
  { keys: "Enter", does: "Open what is marked in a list" },
  { keys: "Esc", does: "Leave a field or a dialog; back to the list" },
  { keys: "?", does: "This list" },
];

/** Handles a key; `help` shows the list of keys. */
export function onKey(event: KeyboardEvent, help: () => void) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.composedPath()[0];
  if (event.key === "Escape" && target instanceof HTMLElement && isField(target)) {
    target.blur();
    return;
  }
  if (isField(target) || document.querySelector("dialog[open]")) return;
  const page = PAGES[Number(event.key) - 1];
  if (page) {
    go(page.page);
  } else if (event.key === "?") {
    help();
  } else if (event.key === "/") {
    const field = document.querySelector<HTMLElement>("[data-filter]");
    field?.focus();
    if (!field) return;
  } else if (event.key === "j" || event.key === "k") {
    move(event.key === "j" ? 1 : -1);
  } else if (event.key === "Escape") {
    document.querySelector<HTMLElement>("[data-back]")?.click();
  } else {
    return;
  }
  event.preventDefault();
}

function isField(target: EventTarget | null | undefined): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}

function move(step: number) {
  const rows = [...document.querySelectorAll<HTMLElement>("tr.opens")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = at === -1 ? (step > 0 ? 0 : rows.length - 1) : at + step;
  rows[Math.max(0, Math.min(next, rows.length - 1))]?.focus();
}
