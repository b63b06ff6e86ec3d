//! The page's end of the sandboxed frame: makes it, speaks with it, and notices when it is gone.

import { RunaboutError } from '../errors.js';
import type { FrameToPage, PageToFrame } from '../sandbox/messages.js';

export interface LinkEvents {
  hear(message: FrameToPage): void;
  /** The frame is gone, its process has crashed for instance: nothing more is heard of it. */
  lost(): void;
}

export interface Link {
  post(message: PageToFrame): void;
  close(): void;
}

export type OpenLink = (events: LinkEvents) => Link;

/** How often the frame is asked whether it is there, while anything is expected of it. */
const PING_EVERY_MS = 2_000;
/** As many unanswered pings mean that it is not. Its own thread never runs guest code. */
const PINGS_UNANSWERED_MAX = 5;

/** Opens a frame in this document. */
export function openFrame(frameUrl: string | undefined): OpenLink {
  return (events) => {
    if (typeof document === 'undefined') {
      throw new RunaboutError('there is no page here to run in', { code: 'no_pool' });
    }
    const frame = document.createElement('iframe');
    frame.setAttribute('sandbox', 'allow-scripts');
    frame.setAttribute('aria-hidden', 'true');
    frame.tabIndex = -1;
    frame.title = 'Runabout’s sandbox';
    frame.style.cssText = 'position:absolute;width:0;height:0;border:0;visibility:hidden';
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = (event: MessageEvent<FrameToPage>) => {
      if (event.data.type === 'pong') unanswered = 0;
      else events.hear(event.data);
    };
    let unanswered = 0;
    const pinging = setInterval(() => {
      if (unanswered >= PINGS_UNANSWERED_MAX) {
        close();
        events.lost();
        return;
      }
      unanswered++;
      port1.postMessage({ type: 'ping', n: unanswered } satisfies PageToFrame);
    }, PING_EVERY_MS);
    const close = (): void => {
      clearInterval(pinging);
      port1.close();
      frame.remove();
    };
    frame.onload = () => frame.contentWindow?.postMessage(null, '*', [port2]);
    if (frameUrl !== undefined) {
      frame.src = frameUrl;
      document.body.append(frame);
    } else {
      import('../generated/frame-html.js').then(({ frameHtml }) => {
        frame.srcdoc = frameHtml;
        document.body.append(frame);
      }, () => undefined);
    }
    return { post: (message) => port1.postMessage(message), close };
  };
}
