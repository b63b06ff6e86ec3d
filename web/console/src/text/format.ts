// How values are written for people. Numbers keep their unit beside them.

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A length of time: `4 µs`, `12 ms`, `3.4 s`, `2 min 5 s`, `1 h 3 min`. */
export function duration(ms: number): string {
  if (ms <= 0) return "0 ms";
  if (ms < 0.1) return `${Math.max(1, Math.round(ms * 1_000))} µs`;
  if (ms < 10) return `${trimmed(ms, 1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${trimmed(ms / 1_000, 2)} s`;
  if (ms < MINUTE_MS) return `${trimmed(ms / 1_000, 1)} s`;
  if (ms < HOUR_MS) return two(ms, MINUTE_MS, "min", 1_000, "s");
  if (ms < DAY_MS) return two(ms, HOUR_MS, "h", MINUTE_MS, "min");
  return two(ms, DAY_MS, "d", HOUR_MS, "h");
}

function two(ms: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const count = Math.floor(ms / large);
  const rest = Math.floor((ms % large) / small);
  return rest === 0 ? `${count} ${largeUnit}` : `${count} ${largeUnit} ${rest} ${smallUnit}`;
}

/** How long ago, or in how long: `now`, `12 s ago`, `in 3 min`. */
export function relative(at: number, now: number): string {
  const distance = Math.abs(now - at);
  if (distance < 1_000) return "now";
  const text = coarse(distance);
  return at > now ? `in ${text}` : `${text} ago`;
}

function coarse(ms: number): string {
  if (ms < MINUTE_MS) return `${Math.floor(ms / 1_000)} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  if (ms < DAY_MS) return `${Math.floor(ms / HOUR_MS)} h`;
  return `${Math.floor(ms / DAY_MS)} d`;
}

/** A size in memory: `64 KiB`, `1.1 MiB`. */
export function bytes(count: number): string {
  if (count < 1_024) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = count / 1_024;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${trimmed(value, value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A count: `1,234`. */
export function count(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

/** A rate: `0.4`, `12`, `3,200`. */
export function rate(value: number): string {
  return value < 10 ? trimmed(value, 1) : count(value);
}

/** One or several: `1 slot`, `4 slots`. */
export function plural(value: number, one: string, several = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : several}`;
}

/** A moment on this machine's clock, to the second. */
export function clock(at: number | string): string {
  return new Date(at).toLocaleTimeString("en-GB");
}

/** A moment with its day, to the second, and the zone it is told in. */
export function full(at: number | string): string {
  const date = new Date(at);
  const day = date.toLocaleDateString("en-CA");
  return `${day} ${date.toLocaleTimeString("en-GB", { timeZoneName: "short" })}`;
}

/**
 * An id that can be told from others: version 7 UUIDs begin with the time, so their end is shown;
 * of a digest, its beginning.
 */
export function shortId(id: string): string {
  if (id.startsWith("sha256:")) return `sha256:${id.slice(7, 15)}`;
  return id.length > 12 ? `…${id.slice(-8)}` : id;
}

function trimmed(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
