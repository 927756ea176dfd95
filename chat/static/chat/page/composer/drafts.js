/**
 * Texts that were begun and not sent, in the browser's localStorage: one for each person's key (person.js) and room.
 *
 * localStorage, because it writes at once: a page that is being closed has no time for more. It may be full, empty or
 * forbidden at any moment; then there is no draft.
 */

const PREFIX = "chat.draft ";
const KINDS = new Set(["say", "reply", "edit"]);
/** Milliseconds after which nobody goes on with a text. */
const KEPT = 30 * 24 * 3_600_000;
/** Rooms whose drafts are kept, the latest. */
const MOST = 50;

/** The browser's localStorage. Browsers that forbid storage throw at the very name. */
export function storageOfBrowser() {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}

export class Drafts {
  #you;
  #storage;

  /**
   * @param {object} options
   * @param {string} options.you the person's key
   * @param {Storage} [options.storage]
   */
  constructor({you, storage = storageOfBrowser()}) {
    this.#you = you;
    this.#storage = storage;
  }

  /** Under which name a room's draft stands in the storage. */
  nameOf(room) {
    return `${PREFIX}${this.#you} ${room}`;
  }

  /** @returns {{text: string, kind: "say" | "reply" | "edit", id?: number, epoch?: string, before?: string} | null} */
  read(room) {
    const {at, ...draft} = this.#parsed(this.nameOf(room)) ?? {};
    return isDraft(draft) && isYoung(at) ? draft : null;
  }

  /** Keep it in the place of what was kept; null: none. */
  write(room, draft) {
    this.#try((storage) => {
      if (draft) storage.setItem(this.nameOf(room), JSON.stringify({...draft, at: Date.now()}));
      else storage.removeItem(this.nameOf(room));
    });
  }

  /** Remove what is of others, what is too old and what is too much. */
  sweep() {
    this.#try((storage) => {
      const ours = this.#names.filter((name) => name.startsWith(this.nameOf("")));
      const ages = new Map(ours.map((name) => [name, this.#parsed(name)?.at ?? 0]));
      const kept = ours.sort((a, b) => ages.get(b) - ages.get(a)).slice(0, MOST);
      const old = kept.filter((name) => !isYoung(ages.get(name)));
      for (const name of this.#names) if (!kept.includes(name) || old.includes(name)) storage.removeItem(name);
    });
  }

  /** Remove everything, whosever it is. */
  clear() {
    this.#try((storage) => {
      for (const name of this.#names) storage.removeItem(name);
    });
  }

  get #names() {
    return Object.keys(this.#storage).filter((name) => name.startsWith(PREFIX));
  }

  #parsed(name) {
    return this.#try((storage) => JSON.parse(storage.getItem(name)));
  }

  #try(work) {
    try {
      return work(this.#storage);
    } catch {
      return undefined;
    }
  }
}

function isYoung(at) {
  return Date.now() - at < KEPT;
}

/** Somebody else may have written there, or a later version of this. */
function isDraft({text, kind, id, before = ""}) {
  return (
    typeof text === "string" &&
    typeof before === "string" &&
    KINDS.has(kind) &&
    (kind === "say" || Number.isSafeInteger(id))
  );
}
