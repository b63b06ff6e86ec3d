//! What the node has deployed, as far as this page has seen it: manifests by name, code by digest. Kept
//! in memory and in the browser's own store, so that it is at hand when the node is not.

import type { FunctionVersion, Language } from '../wire.js';
import type { Http } from './http.js';
import { RunaboutError } from '../errors.js';
import type { PoolArtifact } from '../pool/pool.js';
import type { Store } from '../local/store.js';

/** A manifest that was looked at so lately is not asked for again. */
const FRESH_MS = 5_000;
/** Code kept in memory. */
const MEMORY_BYTES_MAX = 64 << 20;

export class Functions {
  private readonly latest = new Map<string, { version: FunctionVersion; at: number }>();
  private readonly code = new Map<string, Uint8Array>();
  private readonly fetching = new Map<string, Promise<Uint8Array>>();

  constructor(private readonly http: Http, private readonly store: Store) {}

  /** What is known of a function without asking anybody. */
  known(name: string, version?: number): FunctionVersion | undefined {
    return this.latest.get(keyOf(name, version))?.version;
  }

  /** The function as the node has it, or as it was last seen if the node is out of reach. */
  async find(name: string, version?: number): Promise<FunctionVersion> {
    const key = keyOf(name, version);
    const seen = this.latest.get(key);
    if (seen !== undefined && (version !== undefined || Date.now() - seen.at < FRESH_MS)) return seen.version;
    try {
      const query = version === undefined ? '' : `?version=${version}`;
      const found = await this.http.json<FunctionVersion>(`/v1/functions/${encodeURIComponent(name)}${query}`);
      this.latest.set(key, { version: found, at: Date.now() });
      await this.store.putFunction(key, found);
      return found;
    } catch (error) {
      const kept = seen?.version ?? (await this.keptFor(error, key));
      if (kept === undefined) throw error;
      return kept;
    }
  }

  private async keptFor(error: unknown, key: string): Promise<FunctionVersion | undefined> {
    if (!(error instanceof RunaboutError) || error.code !== 'unreachable') return undefined;
    const kept = await this.store.getFunction(key);
    if (kept !== undefined) this.latest.set(key, { version: kept, at: Date.now() });
    return kept;
  }

  async artifact(digest: string, language: Language): Promise<PoolArtifact> {
    return { key: digest, language, bytes: await this.bytes(digest) };
  }

  private async bytes(digest: string): Promise<Uint8Array> {
    const kept = this.code.get(digest);
    if (kept !== undefined) {
      this.remember(digest, kept);
      return kept;
    }
    let fetching = this.fetching.get(digest);
    if (fetching === undefined) {
      fetching = this.load(digest).finally(() => this.fetching.delete(digest));
      this.fetching.set(digest, fetching);
    }
    return await fetching;
  }

  private async load(digest: string): Promise<Uint8Array> {
    const stored = await this.store.getArtifact(digest);
    const bytes = stored ?? (await this.http.bytes(`/v1/artifacts/${digest}`));
    if (stored === undefined) await this.store.putArtifact(digest, bytes);
    this.remember(digest, bytes);
    return bytes;
  }

  private remember(digest: string, bytes: Uint8Array): void {
    this.code.delete(digest);
    this.code.set(digest, bytes);
    let total = 0;
    for (const one of this.code.values()) total += one.length;
    for (const [old, one] of this.code) {
      if (total <= MEMORY_BYTES_MAX || old === digest) return;
      this.code.delete(old);
      total -= one.length;
    }
  }
}

function keyOf(name: string, version: number | undefined): string {
  return version === undefined ? name : `${name}@${version}`;
}
