//! Starts a Web Worker from the text of its script: a frame of opaque origin can load none by address.

const urls = new Map<string, string>();

export function spawn(script: string): Worker {
  let url = urls.get(script);
  if (url === undefined) {
    url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
    urls.set(script, url);
  }
  return new Worker(url);
}
