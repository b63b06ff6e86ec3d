// A document that is open: the newest revision that is known of, and the text as it is edited here.

import { Unreachable } from "../api/ask";
import { type Conflict, type Edit, type Text, conflictOf, documents } from "../api/documents";
import { follow } from "../api/events";
import type { DocumentRevision } from "../api/schema";
import { type Ending, endingOf, withEnding, withPlainEnding } from "../text/line-endings";

/** Types beside `text/` that are shown and edited as text. */
const TEXTS = ["application/json", "application/xml", "application/yaml", "image/svg+xml"];

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
  /** What became of the last save. */
  saved = $state("");
  conflict = $state.raw<Conflict | null>(null);
  error = $state.raw<{ doing: string; error: unknown } | null>(null);
  isBusy = $state(false);

  #abort = new AbortController();
  /** How lines end where it is kept; in the editor they all end alike. */
  #ending: Ending = "\n";
  /** An edit that was sent and not answered: sent again as the same, it is not made twice. */
  #unanswered: { base: number; text: string; edit: Edit } | null = null;

  constructor(readonly name: string) {}

  get isChanged(): boolean {
    return this.text !== this.baseText;
  }

  get isText(): boolean {
    return this.mediaType.startsWith("text/") || TEXTS.includes(this.mediaType);
  }

  /** Somebody else has changed it since. */
  get isBehind(): boolean {
    return this.newest !== null && this.newest.revision > this.base;
  }

  async open() {
    await this.reload();
    const listening = {
      onEvent: ({ kind, data }: { kind: string; data: string }) => {
        if (kind === "revision") void this.#hear(JSON.parse(data));
        if (kind === "deleted") this.isDeleted = true;
      },
      lastKinds: ["deleted"],
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
      await this.#readAgain(() => true);
      this.conflict = null;
    });
  }

  async save(edit: Edit) {
    await this.#do("It was not saved", async () => {
      const { base, text } = this;
      this.saved = "";
      try {
        const change = await this.#send(base, text, edit);
        this.saved = !change.changed
          ? "Nothing had changed."
          : change.merged
            ? `Saved as revision ${change.revision}, put together with what others had changed.`
            : `Saved as revision ${change.revision}.`;
        if (change.changed && !change.merged) this.#standOn(change.revision, text);
        // What is typed meanwhile stays, and is put together with it by the next save.
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
    await this.#do("It cannot be read", () => this.#readAgain(isStill));
  }

  async #send(base: number, text: string, edit: Edit) {
    const before = this.#unanswered;
    const isSame = before?.base === base && before.text === text;
    const sent = isSame ? before : { base, text, edit };
    this.#unanswered = sent;
    try {
      const change = await documents.edit(this.name, base, withEnding(text, this.#ending), sent.edit);
      this.#unanswered = null;
      return change;
    } catch (error) {
      if (!(error instanceof Unreachable)) this.#unanswered = null;
      throw error;
    }
  }

  /** Puts what is there now into the editor, if that may be by the time it has come. */
  async #readAgain(mayStand: () => boolean) {
    const now = await documents.read(this.name, this.#abort.signal);
    if (!mayStand()) return;
    this.mediaType = now.mediaType;
    this.#ending = endingOf(now.text);
    const { text } = plain(now);
    this.#standOn(now.revision, text);
    this.text = text;
  }

  #standOn(revision: number, text: string) {
    this.base = revision;
    this.baseText = text;
  }

  async #do(doing: string, action: () => Promise<void>) {
    this.isBusy = true;
    this.error = null;
    try {
      await action();
    } catch (error) {
      if (!this.#abort.signal.aborted) this.error = { doing, error };
    }
    this.isBusy = false;
  }
}

function plain({ revision, text }: Text): Text {
  return { revision, text: withPlainEnding(text) };
}
