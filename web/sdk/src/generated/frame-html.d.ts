/** The sandboxed frame's document. Written by the build. */
export const frameHtml: string;
