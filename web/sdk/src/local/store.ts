//! The browser's own store: the outbox, functions and their code. Where there is none (Node.js, or a
//! browser that refuses), everything is kept in memory, and is gone with the page.

import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import type { FunctionVersion } from '../wire.js';
import type { Letter } from './letter.js';

interface Schema extends DBSchema {
  letters: { key: string; value: Letter };
  functions: { key: string; value: FunctionVersion };
  artifacts: { key: string; value: { bytes: Uint8Array; usedAt: number } };
}

/** Code kept in the browser's store; what was used longest ago gives way. */
const ARTIFACTS_MAX = 200;

export interface Store {
  letters(): Promise<Letter[]>;
  getLetter(id: string): Promise<Letter | undefined>;
  putLetter(letter: Letter): Promise<void>;
  deleteLetter(id: string): Promise<void>;
  getFunction(key: string): Promise<FunctionVersion | undefined>;
  putFunction(key: string, version: FunctionVersion): Promise<void>;
  getArtifact(digest: string): Promise<Uint8Array | undefined>;
  putArtifact(digest: string, bytes: Uint8Array): Promise<void>;
  close(): void;
}

/** The store of one node's things. */
export function openStore(url: string): Store {
  return typeof indexedDB === 'undefined' ? new MemoryStore() : new BrowserStore(`runabout ${url}`);
}

class BrowserStore implements Store {
  private readonly db: Promise<IDBPDatabase<Schema>>;

  constructor(name: string) {
    this.db = openDB<Schema>(name, 1, {
      upgrade(db) {
        db.createObjectStore('letters');
        db.createObjectStore('functions');
        db.createObjectStore('artifacts');
      },
    });
    // Whoever asks hears of it.
    this.db.catch(() => undefined);
  }

  async letters(): Promise<Letter[]> {
    return await (await this.db).getAll('letters');
  }

  async getLetter(id: string): Promise<Letter | undefined> {
    return await (await this.db).get('letters', id);
  }

  /** Strictly durable: what is told to be kept must survive the browser. */
  async putLetter(letter: Letter): Promise<void> {
    const transaction = (await this.db).transaction('letters', 'readwrite', { durability: 'strict' });
    await Promise.all([transaction.store.put(letter, letter.id), transaction.done]);
  }

  async deleteLetter(id: string): Promise<void> {
    await (await this.db).delete('letters', id);
  }

  async getFunction(key: string): Promise<FunctionVersion | undefined> {
    return await (await this.db).get('functions', key);
  }

  async putFunction(key: string, version: FunctionVersion): Promise<void> {
    await (await this.db).put('functions', version, key);
  }

  async getArtifact(digest: string): Promise<Uint8Array | undefined> {
    const db = await this.db;
    const found = await db.get('artifacts', digest);
    if (found !== undefined) await db.put('artifacts', { ...found, usedAt: Date.now() }, digest);
    return found?.bytes;
  }

  async putArtifact(digest: string, bytes: Uint8Array): Promise<void> {
    const db = await this.db;
    await db.put('artifacts', { bytes, usedAt: Date.now() }, digest);
    if ((await db.count('artifacts')) > ARTIFACTS_MAX) await this.forgetOldest(db);
  }

  private async forgetOldest(db: IDBPDatabase<Schema>): Promise<void> {
    const transaction = db.transaction('artifacts', 'readwrite');
    let oldest: { key: string; usedAt: number } | undefined;
    for await (const cursor of transaction.store) {
      const { usedAt } = cursor.value;
      if (oldest === undefined || usedAt < oldest.usedAt) oldest = { key: cursor.key, usedAt };
    }
    if (oldest !== undefined) await transaction.store.delete(oldest.key);
    await transaction.done;
  }

  close(): void {
    this.db.then((db) => db.close(), () => undefined);
  }
}

class MemoryStore implements Store {
  private readonly kept = new Map<string, Letter>();
  private readonly functions = new Map<string, FunctionVersion>();

  async letters(): Promise<Letter[]> { return [...this.kept.values()].map((letter) => ({ ...letter })); }
  async getLetter(id: string): Promise<Letter | undefined> { return this.kept.get(id); }
  async putLetter(letter: Letter): Promise<void> { this.kept.set(letter.id, { ...letter }); }
  async deleteLetter(id: string): Promise<void> { this.kept.delete(id); }
  async getFunction(key: string): Promise<FunctionVersion | undefined> { return this.functions.get(key); }
  async putFunction(key: string, version: FunctionVersion): Promise<void> { this.functions.set(key, version); }
  // Code is kept in memory anyway, by whoever asks for it.
  async getArtifact(): Promise<undefined> { return undefined; }
  async putArtifact(): Promise<void> { return undefined; }
  close(): void { this.kept.clear(); }
}
