/**
 * Messages that the server has not acknowledged, in the order in which they were written.
 *
 * With a storage they survive a reload of the tab; without one, or when it refuses, they live in memory.
 * An entry is {ref, room, content, at, tries}: `at` is when it was written (milliseconds since 1970), `tries`
 * how often it was handed to a socket.
 */
export class Outbox {
  #entries = [];
  #storage;
  #key;
  #limit;

  /** @param {{storage?: Storage, key?: string, limit?: number}} [options] limit: how many entries are kept */
  constructor({storage = null, key = "chat.outbox", limit = 100} = {}) {
    this.#storage = storage;
    this.#key = key;
    this.#limit = limit;
    this.#entries = this.#restored();
  }

  get full() {
    return this.#entries.length >= this.#limit;
  }

  get(ref) {
    return this.#entries.find((entry) => entry.ref === ref);
  }

  /** The entries of one room, oldest first. */
  of(room) {
    return this.#entries.filter((entry) => entry.room === room);
  }

  first(room) {
    return this.#entries.find((entry) => entry.room === room);
  }

  add({ref, room, content, at}) {
    this.#entries.push({ref, room, content, at, tries: 0});
    this.#keep();
  }

  tried(ref) {
    this.get(ref).tries += 1;
    this.#keep();
  }

  /** Take an entry out. Returns it, or undefined when there is none with this ref. */
  remove(ref) {
    const entry = this.get(ref);
    if (!entry) return undefined;
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#keep();
    return entry;
  }

  #keep() {
    try {
      if (this.#entries.length) this.#storage?.setItem(this.#key, JSON.stringify(this.#entries));
      else this.#storage?.removeItem(this.#key);
    } catch {
      // Full or forbidden: the entries are still in memory, which is what a tab without storage has.
    }
  }

  #restored() {
    try {
      const kept = JSON.parse(this.#storage?.getItem(this.#key) ?? "[]");
      return kept.filter(isEntry).slice(-this.#limit);
    } catch {
      return []; // somebody else wrote there
    }
  }
}

function isEntry(entry) {
  return (
    typeof entry?.ref === "string" &&
    typeof entry.room === "string" &&
    typeof entry.content === "string" &&
    Number.isFinite(entry.at) &&
    Number.isInteger(entry.tries)
  );
}

/** A name for one command that no other command has: 128 random bits. */
export function newRef() {
  // Not randomUUID: browsers have it only in secure contexts, and a chat on http://192.168.… is none.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
