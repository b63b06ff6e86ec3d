//! Keeps the time for the frame: browsers slow down the timers of pages in the background, but not
//! those of Web Workers. Runs no guest code.

let timer: ReturnType<typeof setTimeout> | undefined;

addEventListener('message', (event: MessageEvent<number>) => {
  clearTimeout(timer);
  timer = setTimeout(() => postMessage(0), Math.min(event.data, 0x7fffffff));
});
