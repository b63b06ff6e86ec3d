// Where the keyboard is, when what had the focus goes away.

import { route } from "./route.svelte";

const page = () => document.getElementById("main");

function isLost(): boolean {
  const has = document.activeElement;
  return has === null || has === document.body || has === page();
}

/** To the page itself, if nothing has the focus: otherwise Tab would begin at the top again. */
export function keepFocus() {
  if (isLost()) page()?.focus({ preventScroll: true });
}

/** For a form that opens: its first field gets the focus, and what opened it gets it back. */
export function opened(form: HTMLElement) {
  const opener = document.activeElement;
  form.querySelector<HTMLElement>("input:not([readonly]), select")?.focus();
  return () => {
    const isMine = isLost() || form.contains(document.activeElement);
    if (isMine && opener instanceof HTMLElement) opener.focus();
  };
}

/** For a row of a list: it gets the focus when one comes back to the list from what it opens. */
export function returnedTo(address: string) {
  return (row: HTMLElement) => {
    if (route.left === address && isLost()) {
      route.left = "";
      row.focus();
    }
    // The row may go while it has the focus.
    return keepFocus;
  };
}
