/** `quickjs.wasm`, packed with gzip and written as base64. Written by the build. */
export const packed: string;
