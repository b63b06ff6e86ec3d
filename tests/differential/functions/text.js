// Text beyond ASCII.
export const reverse = (text) => [...text].reverse().join("");
export const units = (text) => [text.length, [...text].length];
export const codes = (text) => Array.from(text, (character) => character.codePointAt(0));
export const cases = (text) => [text.toUpperCase(), text.toLowerCase()];
export const normal = (text) => ["NFC", "NFD"].map((form) => text.normalize(form).length);
export const lone = () => "a\ud800b";
export const escapes = () => "\u0000\u0007\b\t\n\u000b\f\r\u001b\"\\/\u007f\u2028\u2029";
export const repeat = (text, count) => text.repeat(count);
export const split = (text, by) => text.split(by);
export const match = (text) => [...text.matchAll(/(\p{L}+)/gu)].map((it) => it[1]);
export const encode = (text) => new TextEncoder().encode(text);
export const decode = (bytes) => new TextDecoder().decode(bytes);
export const keys = () => ({ b: 1, a: 2, 10: 3, 9: 4, "": 5, ü: 6 });
