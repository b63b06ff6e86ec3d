// Something a page shows that the node was asked for. While it is asked for again, the old one
// stays.

type Question<T> = (signal: AbortSignal) => Promise<T>;

export class Fetched<T> {
  value = $state.raw<T | null>(null);
  error = $state.raw<unknown>(null);

  #abort: AbortController | null = null;
  /** What to ask once the answer that is waited for has come. */
  #next: Question<T> | null = null;

  /** Another question: the answer to the one before is not waited for. */
  async ask(question: Question<T>) {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#next = null;
    try {
      const value = await question(abort.signal);
      if (abort.signal.aborted) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error;
    }
    this.#abort = null;
    if (this.#next) void this.ask(this.#next);
  }

  /** The same question, because there is news: asked once the answer under way has come, so that
      much news cannot keep every answer from arriving. */
  refresh(question: Question<T>) {
    if (this.#abort) this.#next = question;
    else void this.ask(question);
  }

  /** Waits for nothing any more. */
  stop() {
    this.#next = null;
    this.#abort?.abort();
    this.#abort = null;
  }
}
