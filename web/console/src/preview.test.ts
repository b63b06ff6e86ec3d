import { expect, test } from "vitest";

import page from "./preview.html?raw";

test("the preview's policy allows its own script and no other", async () => {
  const [, script = ""] = /<script>(.*?)<\/script>/s.exec(page) ?? [];
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(script));
  const text = btoa(String.fromCharCode(...new Uint8Array(digest)));
  expect(page).toContain(`script-src 'sha256-${text}';`);
});
