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

/** Milliseconds after a key until the draft is written. */
const PAUSE = 500;

/**
 * Keeps what is being written, and brings it back: after a reload, a change of rooms, the end of the browser.
 *
 * Two tabs of one room share the draft. A tab writes only what its user has changed there, so an empty one does not
 * wipe out the other's text. A tab in which nothing was written shows what the other one writes, and is emptied when
 * that one sends it. Text written in both stays in both; the next page gets the latest.
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
  #known = "null"; // what this tab has last read or written, as JSON
  #typed = false; // what stands here was written here
  #parted = false; // the other tab has another text since

  /**
   * @param {object} options
   * @param {Drafts} options.drafts
   * @param {import("./composer-mode.js").ComposerMode} options.mode
   * @param {(id: number) => object} options.find what is known of a message: {message?, gone?} (history.js)
   * @param {() => string | undefined} options.epoch which life of the room ids are of
   * @param {() => void} options.tell that what was answered or edited is gone, and its text can be sent as a new message
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

  /** Show what was kept. */
  restore() {
    this.#follow();
  }

  /** Something was written, or is for something else now. */
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

  /** The message that a kept draft is for may have come, or turned out to be gone. Called after drawing. */
  settle() {
    const {message} = this.#mode;
    if (!message?.unknown) return;
    const {message: found, gone} = this.#find(message.id);
    if (gone || found?.deleted || (found && this.#mode.kind === "edit" && !found.own)) this.forget(message.id);
    else if (found) this.#mode.learn(found);
  }

  /** A message is gone: what was written for it can be sent as a new one. */
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

  /** Show what is kept, unless something else was written here. */
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
    // In another life of the room the id would name another message.
    if (kind !== "say" && epoch !== this.#epoch()) this.forget(id);
    else this.settle();
  }
}
