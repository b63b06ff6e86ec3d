//! Opens a node.

import type { ConnectOptions, Node } from './types.js';
import { RunaboutError } from './errors.js';

/** A node at `url`: where the page came from, if left out. */
export function connect(url?: string, options?: ConnectOptions): Node {
  void options;
  throw new RunaboutError(`no client for ${url ?? 'this page'} yet`, { code: 'unsupported' });
}
