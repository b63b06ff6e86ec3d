// Has the console kept in the browser, so that it opens while the node is away.

import frameUrl from "runabout/frame.html?url";

/** Does nothing where the page came over a connection that browsers do not trust with it. */
export async function keepConsole() {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  try {
    keepFrame();
    await navigator.serviceWorker.register("/assets/service-worker.js", { type: "module", scope: "/" });
  } catch (error) {
    // Storage is full or forbidden, say: everything but this one thing works.
    console.info("the console is not kept for later:", error);
  }
}

/** The frame that runs happen in has an origin of its own, for which no service worker answers: it
    comes from the browser's own cache, where it is once it was shown. */
function keepFrame() {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = "Kept for later";
  frame.hidden = true;
  frame.src = frameUrl;
  frame.onload = () => frame.remove();
  document.body.append(frame);
}
