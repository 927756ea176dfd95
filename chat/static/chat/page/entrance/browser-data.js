import {Drafts, storageOfBrowser} from "../composer/drafts.js";

/** Storage key of the user's key that the latest page was served for. */
const PERSON = "chat.you";

/**
 * A user's data in the browser ends with the sign-in. Each page records here which user it was served for. Other users'
 * data is then removed, and their open pages are notified.
 */
export class BrowserData {
  drafts;
  #you;
  #storage;

  /**
   * @param {object} options
   * @param {string} options.you the key of the page's user; "" without one
   * @param {{sweep: () => Promise<void>}} [options.store] of pending messages (store.js); a chat's store cleans up
   *   when it is loaded
   */
  constructor({you, store, storage = storageOfBrowser()}) {
    this.#you = you;
    this.#storage = storage;
    this.drafts = new Drafts({you, storage});
    this.#remember();
    this.drafts.sweep();
    store?.sweep().catch(() => {}); // a database that can't be opened now is cleaned up by the next page
  }

  /**
   * Call back when the browser has another user: at once in an open page, and when a page returns from the back-forward
   * cache.
   */
  watch(onOther, window = globalThis) {
    window.addEventListener("storage", ({key, newValue}) => {
      if (key === PERSON && newValue !== this.#you) onOther();
    });
    window.addEventListener("pageshow", ({persisted}) => {
      if (persisted && this.#latest !== this.#you) onOther();
    });
  }

  #remember() {
    try {
      this.#storage.setItem(PERSON, this.#you);
    } catch {
      // The server reports it instead, when the page connects.
    }
  }

  /** The key of the user served last; the page's own if unknown. */
  get #latest() {
    try {
      return this.#storage.getItem(PERSON) ?? this.#you;
    } catch {
      return this.#you;
    }
  }
}
