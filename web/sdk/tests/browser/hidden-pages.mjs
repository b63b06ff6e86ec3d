// Pages that nobody looks at, as a browser has them: Playwright tells its own pages that they are seen,
// and its browsers not to slow down the others. These are opened past it.

import { chromium } from 'playwright-core';
import { launchOptions } from './support.mjs';

/** Flags of Playwright's that spare hidden pages. */
const SPARING = ['--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding'];
/** Once a minute at most, as in pages hidden for five minutes, already after a second. */
const STRICT = '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1';

export class HiddenPages {
  #waiting = new Map();
  #last = 0;

  static async launch() {
    const browser = await chromium.launch({
      ...launchOptions, args: [...launchOptions.args, STRICT], ignoreDefaultArgs: SPARING,
    });
    const session = await browser.newBrowserCDPSession();
    const { browserContextId } = await session.send('Target.createBrowserContext');
    return new HiddenPages(browser, session, browserContextId);
  }

  constructor(browser, session, context) {
    this.browser = browser;
    this.session = session;
    this.context = context;
    session.on('Target.receivedMessageFromTarget', ({ message }) => {
      const { id, result, error } = JSON.parse(message);
      const waiter = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiter?.resolve(result);
      else waiter?.reject(new Error(error.message));
    });
  }

  /** A page in front of all others of its window. */
  async open(url) {
    const { session } = this;
    const { targetId } = await session.send('Target.createTarget', { url, browserContextId: this.context });
    const { sessionId } = await session.send('Target.attachToTarget', { targetId, flatten: false });
    const send = (method, params = {}) => new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, reject });
      const message = JSON.stringify({ id, method, params });
      session.send('Target.sendMessageToTarget', { sessionId, message }).catch(reject);
    });
    const evaluate = async (expression) => {
      const { result, exceptionDetails } = await send('Runtime.evaluate', {
        expression, awaitPromise: true, returnByValue: true,
      });
      if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
      return result.value;
    };
    return { send, evaluate, toFront: async () => await send('Page.bringToFront') };
  }

  async close() {
    await this.browser.close();
  }
}
