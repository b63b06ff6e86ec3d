//! The JavaScript engine's bytes, unpacked when they are first needed.

let unpacking: Promise<Uint8Array> | undefined;

export function engineBytes(): Promise<Uint8Array> {
  unpacking ??= unpack().catch((error: unknown) => {
    // Its file could not be had: the next run that needs it asks again.
    unpacking = undefined;
    throw error;
  });
  return unpacking;
}

async function unpack(): Promise<Uint8Array> {
  const { packed } = await import('../generated/quickjs-wasm.js');
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
