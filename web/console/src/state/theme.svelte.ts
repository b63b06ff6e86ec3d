// Light, dark, or as the system has it.

const KEY = "runabout.theme";

export type Choice = "system" | "light" | "dark";

class Theme {
  choice = $state<Choice>(read());

  constructor() {
    this.#show();
  }

  choose(choice: Choice) {
    this.choice = choice;
    localStorage.setItem(KEY, choice);
    this.#show();
  }

  #show() {
    const root = document.documentElement;
    if (this.choice === "system") delete root.dataset.theme;
    else root.dataset.theme = this.choice;
  }
}

function read(): Choice {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

export const theme = new Theme();
