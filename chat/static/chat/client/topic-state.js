/** A client's copy of a topic: its keys, its entries and its people, kept as docs/protocol.md says. Pure. */

/** Entries of a stream that are kept. */
const ENTRIES = 1_000;

export class TopicState {
  /** Each key's data. */
  state = new Map();
  /** The entries without a key, oldest first: {id, event, data, by?, username?, timestamp}. */
  entries = [];
  /** The people who are present, by their key: {by, username, state?}. */
  people = new Map();
  #tell;

  /** @param {(event: string, detail: object) => void} tell called for each entry, after the copy has it */
  constructor(tell) {
    this.#tell = tell;
  }

  /** The server starts over: what was here is void. */
  clear() {
    this.state.clear();
    this.entries.length = 0;
  }

  /** Apply a `publication`. */
  publication({topic, type, seq, follows, patch, ...entry}) {
    if (entry.gone) this.#remove(entry.key);
    else if (entry.key === undefined) this.#add(entry);
    else if (patch === undefined) this.#put(entry);
    else this.#put({...entry, data: merged(this.state.get(entry.key), patch)});
  }

  /** Apply the arrays of a `publications`: [event, key, data, …], [null, key, …] or [event, null, data, id, timestamp]. */
  publications({entries}) {
    for (const [event, ...rest] of entries) {
      if (event === null) for (const key of rest) this.#remove(key);
      else if (rest[0] === null) this.#add({id: rest[2], event, data: rest[1], timestamp: rest[3]});
      else for (let i = 0; i < rest.length; i += 2) this.#put({event, key: rest[i], data: rest[i + 1]});
    }
  }

  /** Apply a `present`. */
  present({came = [], went = [], whole}) {
    if (whole) this.people.clear();
    for (const person of came) this.people.set(person.by, person);
    for (const key of went) this.people.delete(key);
  }

  #put(entry) {
    this.state.set(entry.key, entry.data);
    this.#tell(entry.event, entry);
  }

  #remove(key) {
    this.state.delete(key);
    this.#tell("gone", {key});
  }

  #add(entry) {
    this.entries.push(entry);
    if (this.entries.length > ENTRIES) this.entries.splice(0, this.entries.length - ENTRIES);
    this.#tell(entry.event, entry);
  }
}

/** A value after a JSON merge patch (RFC 7396, section 2). Neither is changed. */
export function merged(value, patch) {
  if (!isObject(patch)) return patch;
  const result = new Map(isObject(value) ? Object.entries(value) : []);
  for (const [name, inner] of Object.entries(patch)) {
    if (inner === null) result.delete(name);
    else result.set(name, merged(result.get(name), inner));
  }
  return Object.fromEntries(result); // which makes "__proto__" a name like any other
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
