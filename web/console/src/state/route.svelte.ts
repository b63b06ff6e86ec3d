// Where the person is: `#/tasks/0198...?state=failed`. After the hash, so that no path of the node
// or of its endpoints is ever shadowed.

export interface Place {
  page: string;
  /** What of the page is shown, if not all of it. */
  item: string;
  query: Record<string, string>;
}

/** Reads the part of an address from `#` on. */
export function readPlace(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/");
  return {
    page: page === "" ? "overview" : page,
    item: decoded(rest.join("/")),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** Writes it; what is empty is left out. */
export function href(page: string, item = "", query: Record<string, string> = {}): string {
  const known = Object.entries(query).filter(([, value]) => value !== "");
  const path = [page === "overview" ? "" : page, ...(item === "" ? [] : [encodeURIComponent(item)])];
  const parameters = known.length === 0 ? "" : `?${new URLSearchParams(known)}`;
  return `#/${path.join("/")}${parameters}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

class Route {
  place = $state<Place>(readPlace(location.hash));
  /** The address of what was shown before, if one came back from it to its list; else empty. */
  left = $state("");

  constructor() {
    addEventListener("hashchange", () => {
      const { page, item } = this.place;
      this.place = readPlace(location.hash);
      const isBack = item !== "" && this.place.page === page && this.place.item === "";
      this.left = isBack ? href(page, item) : "";
    });
  }
}

export const route = new Route();

export function go(page: string, item = "", query: Record<string, string> = {}) {
  location.hash = href(page, item, query);
}

/** The same page with other parameters, without a step in the history for each letter typed. */
export function replaceQuery(query: Record<string, string>) {
  history.replaceState(null, "", href(route.place.page, route.place.item, query));
  route.place = readPlace(location.hash);
}
