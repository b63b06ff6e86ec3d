// What a guest does with arguments that are an attack on it.
export const count = (...args) => args.length;
export const length = (text) => text.length;
