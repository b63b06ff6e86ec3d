// Has the console kept in the browser, so that it opens while the node is away.

/** Does nothing where the page came over a connection that browsers do not trust with it. */
export async function keepConsole() {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("/assets/service-worker.js", { type: "module", scope: "/" });
  } catch (error) {
    // Storage is full or forbidden, say: everything but this one thing works.
    console.info("the console is not kept for later:", error);
  }
}
