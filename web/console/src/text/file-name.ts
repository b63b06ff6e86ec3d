// A function's name from a file's.

/** What is left when the ending and all that no name may hold are gone. */
export function nameOfFile(file: string): string {
  const stem = file.replace(/\.[a-z0-9]+$/i, "");
  return stem
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[.-]+/, "")
    .slice(0, 64);
}
