/**
 * What a browser tells about its network and its tab, as two callbacks: `away` (the network is gone) and
 * `back` (it returned, or the user looks at the tab again: a good moment to try or to check the link).
 */
export class Network {
  #window;
  #document;
  #away;
  #back;

  /** @param {{window?: Window, document?: Document}} environment either may be missing, as in Node */
  constructor({window, document}, {away, back}) {
    this.#window = window;
    this.#document = document;
    this.#away = away;
    this.#back = back;
  }

  /** False only when the browser is sure that there is no network. */
  get online() {
    return this.#window?.navigator?.onLine !== false;
  }

  watch() {
    this.#window?.addEventListener("online", this.#back);
    this.#window?.addEventListener("offline", this.#away);
    // A page from the back-forward cache has a socket that was closed while it lay there.
    this.#window?.addEventListener("pageshow", this.#shown);
    this.#document?.addEventListener("visibilitychange", this.#shown);
  }

  unwatch() {
    this.#window?.removeEventListener("online", this.#back);
    this.#window?.removeEventListener("offline", this.#away);
    this.#window?.removeEventListener("pageshow", this.#shown);
    this.#document?.removeEventListener("visibilitychange", this.#shown);
  }

  #shown = (event) => {
    if (event.type === "pageshow" && !event.persisted) return;
    if (this.#document?.visibilityState !== "hidden") this.#back();
  };
}
