// The time, as often as a person can read it. One clock for all that says "12 s ago".

class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 1_000);
    document.addEventListener("visibilitychange", () => {
      this.now = Date.now();
    });
  }
}

export const clock = new Clock();
