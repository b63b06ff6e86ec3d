// The name under which a person edits documents. Kept on this machine; the node marks it as said.

const KEY = "runabout.author";

class Author {
  name = $state(localStorage.getItem(KEY) ?? "");

  keep(name: string) {
    this.name = name;
    localStorage.setItem(KEY, name);
  }
}

export const author = new Author();
