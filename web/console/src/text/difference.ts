// A unified difference, line by line.

export interface DifferenceLine {
  kind: "place" | "same" | "gone" | "new";
  text: string;
}

/** Reads a unified difference; the names of files at its head are left out. */
export function readDifference(text: string): DifferenceLine[] {
  return text
    .split("\n")
    .filter((line, index, all) => !(line === "" && index === all.length - 1))
    .filter((line) => !line.startsWith("--- ") && !line.startsWith("+++ "))
    .map((line) => {
      if (line.startsWith("@@")) return { kind: "place", text: line };
      if (line.startsWith("-")) return { kind: "gone", text: line.slice(1) };
      if (line.startsWith("+")) return { kind: "new", text: line.slice(1) };
      return { kind: "same", text: line.startsWith(" ") ? line.slice(1) : line };
    });
}
