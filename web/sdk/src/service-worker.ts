//! Keeps a page and what it is made of, so that a reload opens it while the node is away. For the
//! script of a service worker: `import { keepShell } from 'runabout/service-worker'; keepShell();`
//! Functions and their code are kept by `node.pin`; this leaves the node's API alone.

export interface ShellOptions {
  /** The page; `/` if left out. */
  page?: string;
  /** Where files are whose names change with their content; `/assets/` if left out. */
  assets?: string;
  /** Other files the page needs, fetched at once: the sandboxed frame, say. */
  extra?: readonly string[];
  cache?: string;
}

/** Files kept, at most; those of older versions go first. */
const FILES_MAX = 500;
/** A node that does not answer a reload by then is taken for away. */
const PATIENCE_MS = 4_000;

/** What is used of a service worker's global. */
interface Scope {
  addEventListener(type: 'install' | 'activate', listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  location: Location;
}
interface ExtendableEvent { waitUntil(work: Promise<unknown>): void }
interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

export function keepShell(options: ShellOptions = {}): void {
  const scope = globalThis as unknown as Scope;
  const shell = new Shell(scope.location.origin, options);
  scope.addEventListener('install', (event) => {
    event.waitUntil(shell.fill().then(async () => await scope.skipWaiting()));
  });
  scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()));
  scope.addEventListener('fetch', (event) => {
    const answer = shell.answer(event.request);
    if (answer !== undefined) event.respondWith(answer);
  });
}

class Shell {
  private readonly page: string;
  private readonly assets: string;
  private readonly extra: readonly string[];
  private readonly name: string;

  constructor(private readonly origin: string, { page = '/', assets = '/assets/', extra = [], cache = 'runabout' }: ShellOptions) {
    this.page = page;
    this.assets = assets;
    this.extra = extra;
    this.name = cache;
  }

  /** Fetches the page, what it names, and the other files. */
  async fill(): Promise<void> {
    const response = await fetch(this.page, { cache: 'no-store' });
    if (!response.ok) throw new Error(`the page answered ${response.status}`);
    const cache = await caches.open(this.name);
    const named = namedIn(await response.clone().text(), this.assets);
    await Promise.all([...named, ...this.extra].map(async (path) => {
      if ((await cache.match(path)) === undefined) await cache.add(path);
    }));
    // Last, so that no page is kept whose files are not.
    await cache.put(this.page, response);
  }

  answer(request: Request): Promise<Response> | undefined {
    const url = new URL(request.url);
    if (request.method !== 'GET' || url.origin !== this.origin) return undefined;
    if (request.mode === 'navigate' && url.pathname === this.page) return this.freshPage(request);
    if (url.pathname.startsWith(this.assets) || this.extra.includes(url.pathname)) return this.file(request);
    return undefined;
  }

  /** The page as the node has it, or as it was last seen. */
  private async freshPage(request: Request): Promise<Response> {
    const cache = await caches.open(this.name);
    try {
      const response = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (response.ok) void this.fill().catch(() => undefined);
      return response;
    } catch (error) {
      const kept = await cache.match(this.page);
      if (kept === undefined) throw error;
      return kept;
    }
  }

  private async file(request: Request): Promise<Response> {
    const cache = await caches.open(this.name);
    const kept = await cache.match(request);
    if (kept !== undefined) return kept;
    const response = await fetch(request);
    if (response.ok) {
      await cache.put(request, response.clone());
      const keys = await cache.keys();
      const first = keys.find((key) => new URL(key.url).pathname !== this.page);
      if (keys.length > FILES_MAX && first !== undefined) await cache.delete(first);
    }
    return response;
  }
}

/** The files under `assets` that a page names. */
function namedIn(html: string, assets: string): string[] {
  const found = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address ?? '');
  return [...new Set(found.filter((address) => address.startsWith(assets)))];
}
