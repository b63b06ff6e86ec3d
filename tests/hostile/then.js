// A module that is itself a promise that never settles: who awaits it calls its `then`.
export const then = () => {};
export const f = () => 1;
