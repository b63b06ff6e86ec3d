//! Those who want to hear of something. One that throws keeps nobody else from hearing.

import type { Unsubscribe } from './types.js';

export class Listeners<T> {
  private readonly all = new Set<(value: T) => void>();

  add(listener: (value: T) => void): Unsubscribe {
    this.all.add(listener);
    return () => {
      this.all.delete(listener);
    };
  }

  get isEmpty(): boolean {
    return this.all.size === 0;
  }

  tell(value: T): void {
    for (const listener of [...this.all]) {
      try {
        listener(value);
      } catch (error) {
        // Not ours to handle, and not to be swallowed either.
        queueMicrotask(() => { throw error; });
      }
    }
  }
}
