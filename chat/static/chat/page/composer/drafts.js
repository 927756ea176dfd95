/**
 * Drafts in the browser's localStorage: one for each user's key (person.js) and room.
 *
 * localStorage, because it writes synchronously: a page that is being closed has no time for more. It may be full, empty
 * or forbidden at any moment; then there is no draft.
 */

const PREFIX = "chat.draft ";
const KINDS = new Set(["say", "reply", "edit"]);
/** Milliseconds after which a draft is dropped. */
const KEPT = 30 * 24 * 3_600_000;
/** Most drafts that are kept, the latest. */
const MOST = 50;

/** The browser's localStorage. Some browsers throw at the very name if storage is forbidden. */
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

  /** The storage key of a room's draft. */
  nameOf(room) {
    return `${PREFIX}${this.#you} ${room}`;
  }

  /** @returns {{text: string, kind: "say" | "reply" | "edit", id?: number, epoch?: string, before?: string} | null} */
  read(room) {
    const {at, ...draft} = this.#parsed(this.nameOf(room)) ?? {};
    return isDraft(draft) && isYoung(at) ? draft : null;
  }

  /** Replace the draft; null removes it. */
  write(room, draft) {
    this.#try((storage) => {
      if (draft) storage.setItem(this.nameOf(room), JSON.stringify({...draft, at: Date.now()}));
      else storage.removeItem(this.nameOf(room));
    });
  }

  /** Remove drafts of other users, those that are too old, and those beyond the limit. */
  sweep() {
    this.#try((storage) => {
      const ours = this.#names.filter((name) => name.startsWith(this.nameOf("")));
      const ages = new Map(ours.map((name) => [name, this.#parsed(name)?.at ?? 0]));
      const kept = ours.sort((a, b) => ages.get(b) - ages.get(a)).slice(0, MOST);
      const old = kept.filter((name) => !isYoung(ages.get(name)));
      for (const name of this.#names) if (!kept.includes(name) || old.includes(name)) storage.removeItem(name);
    });
  }

  /** Remove all drafts of all users. */
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

/** Another script may have written there, or a later version of this one. */
function isDraft({text, kind, id, before = ""}) {
  return (
    typeof text === "string" &&
    typeof before === "string" &&
    KINDS.has(kind) &&
    (kind === "say" || Number.isSafeInteger(id))
  );
}

/** Milliseconds from a key to the write of the draft. */
const PAUSE = 500;

/**
 * Saves the composer's text as a draft, and restores it after a reload, a change of rooms, or the end of the browser.
 *
 * Two tabs of one room share the draft. A tab writes only its own user's changes, so an empty tab does not erase the
 * other's text. A tab without input follows the other tab, and is emptied when that one sends. Text typed in both tabs
 * stays in both; the next page gets the latest.
 */
export class DraftSync {
  ended = false;
  #drafts;
  #room;
  #mode;
  #find;
  #epoch;
  #tell;
  #timer = null;
  #known = "null"; // the draft that this tab last read or wrote, as JSON
  #typed = false; // the present text was typed in this tab
  #parted = false; // another tab has a different text since

  /**
   * @param {object} options
   * @param {Drafts} options.drafts
   * @param {import("./composer-mode.js").ComposerMode} options.mode
   * @param {(id: number) => object} options.find finds a message: {message?, gone?} (history.js)
   * @param {() => string | undefined} options.epoch the room's epoch, which ids belong to
   * @param {() => void} options.tell the user that the message is gone, and the draft would be a new message
   */
  constructor({drafts, room, mode, find, epoch, tell, window = globalThis, document = globalThis.document}) {
    this.#drafts = drafts;
    this.#room = room;
    this.#mode = mode;
    this.#find = find;
    this.#epoch = epoch;
    this.#tell = tell;
    window.addEventListener("pagehide", () => this.save());
    window.addEventListener("pageshow", ({persisted}) => persisted && this.#follow());
    window.addEventListener("storage", ({key}) => {
      if (key === null || key === drafts.nameOf(room)) this.#follow();
    });
    document.addEventListener("visibilitychange", () => document.hidden && this.save());
  }

  /** Restore the draft. */
  restore() {
    this.#follow();
  }

  /** The text or the mode has changed. */
  changed() {
    if (this.ended) return;
    this.#timer ??= setTimeout(() => this.save(), PAUSE);
  }

  save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const draft = this.#current;
    const now = JSON.stringify(draft);
    if (this.ended || now === this.#known) return;
    const theirs = draft === null && this.#stored !== this.#known;
    if (!theirs) this.#drafts.write(this.#room, draft);
    this.#agree(now, draft !== null);
  }

  /** The draft's message may be loaded now, or turn out to be gone. Called after drawing. */
  settle() {
    const {message} = this.#mode;
    if (!message?.unknown) return;
    const {message: found, gone} = this.#find(message.id);
    if (gone || found?.deleted || (found && this.#mode.kind === "edit" && !found.own)) this.forget(message.id);
    else if (found) this.#mode.learn(found);
  }

  /** A message is gone: its draft can be sent as a new message. */
  forget(id) {
    if (this.#mode.forget(id)) this.#tell();
  }

  /** The sign-in has ended. */
  end() {
    this.ended = true;
    clearTimeout(this.#timer);
    this.#drafts.clear();
    this.#mode.restore({kind: "say", text: ""}, null);
  }

  get #current() {
    const draft = this.#mode.draft;
    if (draft && draft.kind !== "say") return {...draft, epoch: this.#epoch()};
    return draft;
  }

  get #stored() {
    return JSON.stringify(this.#drafts.read(this.#room));
  }

  /** Show the stored draft, unless another text was typed here. */
  #follow() {
    const stored = this.#stored;
    if (this.ended || stored === this.#known) return;
    const sent = stored === "null" && !this.#parted;
    const ours = JSON.stringify(this.#current) !== this.#known || (this.#typed && !sent);
    if (ours) {
      this.#parted = true;
      return;
    }
    this.#agree(stored, false);
    this.#show(JSON.parse(stored) ?? {kind: "say", text: ""});
  }

  #agree(known, typed) {
    this.#known = known;
    this.#typed = typed;
    this.#parted = false;
  }

  #show(draft) {
    const {kind, id, epoch} = draft;
    this.#mode.restore(draft, kind === "say" ? null : {id, unknown: true});
    // In another epoch the id would name another message.
    if (kind !== "say" && epoch !== this.#epoch()) this.forget(id);
    else this.settle();
  }
}
