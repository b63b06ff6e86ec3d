//! The scripts of the Web Workers, as texts that the build puts in.

declare const RUNABOUT_CLOCK: string;
declare const RUNABOUT_NATIVE: string;
declare const RUNABOUT_ENGINE: string;

export const clockScript = RUNABOUT_CLOCK;
export const nativeScript = RUNABOUT_NATIVE;
export const engineScript = RUNABOUT_ENGINE;
