// Takes pictures of pages, as WebP: a third of the size of PNG.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** A picture: its name, the part of the address from `#` on, and what a person does before it is taken. */
export const picture = (name, hash, act) => ({ name, hash, act });

/** Takes those pictures of a node's console in one scheme of colours. */
export async function take(browser, { url, folder, scheme, viewport }, pictures) {
  const context = await browser.newContext({ viewport, colorScheme: scheme });
  const page = await context.newPage();
  for (const { name, hash, act } of pictures) {
    await page.goto(`${url}/${hash}`);
    await act?.(page);
    // A moving pointer leaves marks on what it passed over.
    await page.mouse.move(0, 0);
    writeFileSync(join(folder, `console-${name}-${scheme}.webp`), await asWebp(page, await page.screenshot()));
  }
  await context.close();
}

async function asWebp(page, png) {
  const blank = await page.context().newPage();
  const text = await blank.evaluate(async (source) => {
    const image = new Image();
    image.src = `data:image/png;base64,${source}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.8).split(",")[1];
  }, png.toString("base64"));
  await blank.close();
  return Buffer.from(text, "base64");
}
