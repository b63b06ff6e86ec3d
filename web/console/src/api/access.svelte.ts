// The token a person has given, and whether the node wants one.

const KEY = "runabout.token";

class Access {
  /** Empty where none was given. */
  token = $state(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "");
  /** The node refused us without a token, or refused this one. */
  isRefused = $state(false);

  /** Keeps a token while this tab is open, or on this machine. Whether the node takes it is seen next. */
  give(token: string, keep: boolean) {
    this.forget();
    this.token = token;
    (keep ? localStorage : sessionStorage).setItem(KEY, token);
  }

  forget() {
    this.token = "";
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  }

  /** What a request has to carry. */
  headers(): Record<string, string> {
    return this.token === "" ? {} : { Authorization: `Bearer ${this.token}` };
  }
}

export const access = new Access();
