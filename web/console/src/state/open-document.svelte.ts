// Documents that are open: the newest revision that is known of each, and the text as it is edited here.
// One with a text that is not saved stays open while the person looks at another page.

import { SvelteMap } from "svelte/reactivity";

import { Refused } from "../api/ask";
import { type Conflict, type Edit, type Text, conflictOf, documents } from "../api/documents";
import { follow } from "../api/events";
import type { DocumentChange, DocumentRevision } from "../api/schema";
import { type Ending, endingOf, withEnding, withPlainEnding } from "../text/line-endings";

/** Types beside `text/` that are shown and edited as text. */
const TEXTS = ["application/json", "application/xml", "application/yaml", "image/svg+xml"];

/** An edit that was sent, and what came of it is not known. */
interface Unanswered {
  base: number;
  text: string;
  edit: Edit;
}

export class OpenDocument {
  /** The text as it stands in the editor. */
  text = $state("");
  /** The text it was made from. */
  baseText = $state("");
  /** The revision it was made from; 0 before it was read. */
  base = $state(0);
  mediaType = $state("");
  /** The newest revision, by anybody. */
  newest = $state.raw<DocumentRevision | null>(null);
  isDeleted = $state(false);
  /** What the person says of the change. */
  summary = $state("");
  /** What became of the last save. */
  saved = $state("");
  conflict = $state.raw<Conflict | null>(null);
  error = $state.raw<{ doing: string; error: unknown } | null>(null);
  isBusy = $state(false);

  #abort = new AbortController();
  /** How lines end where it is kept; in the editor they all end alike. */
  #ending: Ending = "\n";
  /** An edit that was sent and not answered: sent again as the same, it is not made twice. */
  #unanswered: Unanswered | null = null;

  constructor(readonly name: string) {}

  /** An edit was sent, and no answer came. */
  get isUncertain(): boolean {
    return this.error !== null && this.#unanswered !== null;
  }

  get isChanged(): boolean {
    return this.text !== this.baseText;
  }

  /** Whether something would be lost with it. */
  get isUnsaved(): boolean {
    return this.isChanged && !this.isDeleted;
  }

  get isText(): boolean {
    return this.mediaType.startsWith("text/") || TEXTS.includes(this.mediaType);
  }

  /** Somebody else has changed it since. */
  get isBehind(): boolean {
    return this.newest !== null && this.newest.revision > this.base;
  }

  async open() {
    this.#abort = new AbortController();
    this.saved = "";
    // What was written before is still to be saved; the stream tells what there is by now.
    if (!this.isChanged) await this.reload();
    const listening = {
      onEvent: ({ kind, data }: { kind: string; data: string }) => {
        if (kind === "revision") void this.#hear(JSON.parse(data));
        if (kind === "deleted") this.isDeleted = true;
      },
      lastKinds: ["deleted"],
      onRefused: (error: Refused) => {
        // Deleted while nobody followed it.
        if (error.problem.status === 404 && this.base > 0) this.isDeleted = true;
        else this.error ??= { doing: "It cannot be followed", error };
      },
    };
    const path = `/v1/documents/${encodeURIComponent(this.name)}/events`;
    await follow(path, listening, this.#abort.signal);
  }

  close() {
    this.#abort.abort();
  }

  /** What is there now, in place of what stands in the editor. */
  async reload() {
    await this.#do("It cannot be read", async () => {
      await this.#readAgain(() => true, this.#abort.signal);
      this.conflict = null;
    });
  }

  async save(edit: Edit) {
    await this.#do(() => this.#failing(), async () => {
      const { text } = this;
      this.saved = "";
      try {
        const change = await this.#send(text, edit);
        this.saved = !change.changed
          ? "Nothing had changed."
          : change.merged
            ? `Saved as revision ${change.revision}, put together with what others had changed.`
            : `Saved as revision ${change.revision}.`;
        if (change.changed && !change.merged) this.#standOn(change.revision, text);
        // What is typed meanwhile stays, and is put together with it by the next save.
        // Though one may have left meanwhile: it was saved.
        else await this.#readAgain(() => this.text === text);
      } catch (error) {
        const conflict = conflictOf(error);
        if (!conflict) throw error;
        const { current, yours } = conflict;
        this.conflict = { ...conflict, current: plain(current), yours: { text: withPlainEnding(yours.text) } };
      }
    });
  }

  /** Goes on from what is there now, with a text that takes it into account. */
  async resolve(text: string, edit: Edit) {
    const { conflict } = this;
    if (!conflict) return;
    this.#standOn(conflict.current.revision, conflict.current.text);
    this.text = text;
    this.conflict = null;
    await this.save(edit);
  }

  async revert(revision: number, edit: Edit) {
    await this.#do("It was not reverted", async () => {
      const change = await documents.revert(this.name, revision, edit);
      this.saved = `Revision ${change.revision} has the text of revision ${revision}.`;
      await this.#readAgain(() => !this.isChanged);
    });
  }

  async #hear(revision: DocumentRevision) {
    this.newest = revision;
    const isStill = () => !this.isChanged;
    if (this.isBusy || this.conflict || !isStill() || revision.revision <= this.base) return;
    await this.#do("It cannot be read", () => this.#readAgain(isStill, this.#abort.signal));
  }

  /** Sends an edit that has not been answered yet once more, as it was: whether it had arrived or not,
      it then has, and the text in the editor stands on it. Otherwise the next edit would meet it as if
      somebody else had made it. */
  async #settle(text: string) {
    const before = this.#unanswered;
    if (!before || before.text === text) return;
    try {
      const change = await this.#deliver(before);
      if (!change.merged) this.#standOn(change.revision, before.text);
    } catch (error) {
      // It had not arrived, and would be refused now: the next edit says so of itself, if it is.
      if (this.#unanswered) throw error;
    }
  }

  async #send(text: string, edit: Edit): Promise<DocumentChange> {
    await this.#settle(text);
    const before = this.#unanswered;
    return await this.#deliver(before ?? { base: this.base, text, edit });
  }

  async #deliver(sent: Unanswered): Promise<DocumentChange> {
    const { base, text, edit } = sent;
    this.#unanswered = sent;
    try {
      const change = await documents.edit(this.name, base, withEnding(text, this.#ending), edit);
      this.#unanswered = null;
      return change;
    } catch (error) {
      // A refusal is an answer. One that went wrong on its side, or a proxy's, leaves open what became of it.
      if (error instanceof Refused && error.problem.status < 500) this.#unanswered = null;
      throw error;
    }
  }

  /** Puts what is there now into the editor, if that may be by the time it has come. */
  async #readAgain(mayStand: () => boolean, signal?: AbortSignal) {
    const now = await documents.read(this.name, signal);
    if (!mayStand()) return;
    this.mediaType = now.mediaType;
    this.#ending = endingOf(now.text);
    // With it one has seen whether the edit had arrived; what is written from here on is another.
    this.#unanswered = null;
    const { text } = plain(now);
    this.#standOn(now.revision, text);
    this.text = text;
  }

  #standOn(revision: number, text: string) {
    this.base = revision;
    this.baseText = text;
  }

  #failing(): string {
    return this.#unanswered ? "It is not known whether it was saved" : "It was not saved";
  }

  async #do(doing: string | (() => string), action: () => Promise<void>) {
    const { signal } = this.#abort;
    this.isBusy = true;
    this.error = null;
    try {
      await action();
    } catch (error) {
      const said = typeof doing === "string" ? doing : doing();
      if (!signal.aborted) this.error = { doing: said, error };
    }
    this.isBusy = false;
  }
}

function plain({ revision, text }: Text): Text {
  return { revision, text: withPlainEnding(text) };
}

class OpenDocuments {
  readonly #byName = new SvelteMap<string, OpenDocument>();

  constructor() {
    addEventListener("beforeunload", (event) => {
      if ([...this.#byName.values()].some((one) => one.isUnsaved)) event.preventDefault();
    });
  }

  /** As it was left, if something in it is not saved. */
  at(name: string): OpenDocument {
    const known = this.#byName.get(name);
    if (known) return known;
    const made = new OpenDocument(name);
    this.#byName.set(name, made);
    return made;
  }

  leave(one: OpenDocument) {
    one.close();
    if (!one.isUnsaved) this.#byName.delete(one.name);
  }

  isUnsaved(name: string): boolean {
    return this.#byName.get(name)?.isUnsaved ?? false;
  }
}

export const openDocuments = new OpenDocuments();
