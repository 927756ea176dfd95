import {Drafts, storageOfBrowser} from "../composer/drafts.js";

/** Under this name the browser remembers whom it has: the key of who was served the latest page. */
const PERSON = "chat.you";

/**
 * A browser's data of a person ends with the sign-in. Each page tells here whom it was served for. Data of others is
 * then removed, and their open pages are told.
 */
export class BrowserData {
  drafts;
  #you;
  #storage;

  /**
   * @param {object} options
   * @param {string} options.you the key of the page's person; "" for nobody
   * @param {{sweep: () => Promise<void>}} [options.store] of messages on their way (store.js); the store of a chat sweeps
   *   when it is read
   */
  constructor({you, store, storage = storageOfBrowser()}) {
    this.#you = you;
    this.#storage = storage;
    this.drafts = new Drafts({you, storage});
    this.#remember();
    this.drafts.sweep();
    store?.sweep().catch(() => {}); // what can't be opened now is swept with the next page
  }

  /**
   * Call back when the browser has somebody else: at once in an open page, and when a page comes back from the back-forward
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
      // Then the server tells, when the page connects.
    }
  }

  /** The key of the person served last; the page's own if it is not known. */
  get #latest() {
    try {
      return this.#storage.getItem(PERSON) ?? this.#you;
    } catch {
      return this.#you;
    }
  }
}
