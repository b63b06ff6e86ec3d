declare module "virtual:error-codes" {
  /** What can be done about each error code; Markdown with code spans. */
  export const whatToDo: Record<string, string>;
}
