/**
 * What has been said in one room, as far as this page knows: messages, those on their way, comings and goings.
 * Pure: no DOM, no clock. rows.js says how it is laid out.
 */

/** Messages kept while the reader follows the newest, and how many stay after the oldest are let go. */
export const KEEP = {FOLLOWING: 1_500, AFTER_TRIM: 1_200, MOST: 4_000};
/** Comings and goings kept. */
const NOTICES = 200;

export class Timeline {
  me;
  more = false; // whether the server has older messages than these
  readUpTo = null; // id of the last message seen before the reader looked away; null: no marker
  #messages = []; // by id
  #known = new Map(); // id → message
  #pending = []; // {ref, content, at, failed: reason or null, claim: id or null}
  #notices = []; // {after: id, joined: [name], left: [name]}, by `after`
  #start = 0; // the log's position when the room was entered: what happens now is after it

  constructor(me) {
    this.me = me;
  }

  get messages() {
    return this.#messages;
  }

  get notices() {
    return this.#notices;
  }

  /** Messages of ours on their way. One that has arrived already, by the look of it, is not shown twice. */
  get pending() {
    return this.#pending.filter(({claim}) => claim === null);
  }

  get oldest() {
    return this.#messages[0]?.id ?? null;
  }

  get newest() {
    return this.#messages.at(-1)?.id ?? 0;
  }

  /** The room was entered at this position of its log. */
  startAt(seq) {
    this.#start = seq;
  }

  /** Take messages in, from history or live, in any order. Returns those that are new. */
  add(messages) {
    const before = this.newest;
    const fresh = messages.filter((message) => this.#put(message));
    for (const message of fresh) {
      if (message.username === this.me && message.id > before) this.#claim(message);
    }
    return fresh;
  }

  /** A page of history came. */
  addHistory({messages, more}) {
    this.more = more;
    return this.add(messages);
  }

  // --- Messages of ours ---

  addPending({ref, content, at}) {
    this.#pending.push({ref, content, at, failed: null, claim: null});
  }

  /** The server has it: it becomes a message, unless that came before. */
  confirm(ref, {id, seq, timestamp}) {
    const entry = this.#take(ref);
    if (!entry) return;
    // `ref` stays as the row's name, so that the row on the screen is the same one, at peace.
    this.#put({id, seq, timestamp, username: this.me, content: entry.content, ref});
  }

  fail(ref, reason) {
    const entry = this.#find(ref);
    if (entry) Object.assign(entry, {failed: reason, claim: null});
  }

  /** Try a failed message again: it moves to the end, where it will be. Returns it. */
  retry(ref) {
    const entry = this.#take(ref);
    if (entry) this.#pending.push(Object.assign(entry, {failed: null}));
    return entry;
  }

  discard(ref) {
    this.#take(ref);
  }

  // --- Comings and goings ---

  joined(name) {
    this.#noted("joined", "left", name);
  }

  left(name) {
    this.#noted("left", "joined", name);
  }

  /** In a run without messages between, one who comes and goes is no news. */
  #noted(list, opposite, name) {
    const notice = this.#openNotice();
    const before = notice[opposite].indexOf(name);
    if (before >= 0) notice[opposite].splice(before, 1);
    else if (!notice[list].includes(name)) notice[list].push(name);
  }

  #openNotice() {
    const last = this.#notices.at(-1);
    const after = Math.max(this.newest, this.#start);
    if (last?.after === after) return last;
    const notice = {after, joined: [], left: []};
    this.#notices.push(notice);
    if (this.#notices.length > NOTICES) this.#notices.shift();
    return notice;
  }

  // --- Keeping it small ---

  /** Whether older messages may be fetched: the server has some, and this page has room. */
  get extensible() {
    return this.more && this.#messages.length < KEEP.MOST;
  }

  /**
   * Let the oldest go when there are too many. History brings them back.
   * @param {boolean} following the reader is at the newest message and will not miss them
   */
  trim(following) {
    const bound = following ? KEEP.FOLLOWING : KEEP.MOST + KEEP.FOLLOWING;
    if (this.#messages.length <= bound) return;
    const keep = following ? KEEP.AFTER_TRIM : KEEP.MOST;
    for (const {id} of this.#messages.splice(0, this.#messages.length - keep)) this.#known.delete(id);
    this.#notices = this.#notices.filter(({after}) => after >= this.oldest);
    this.more = true;
  }

  /** The log is of another life: start over. What is on its way stays. */
  reset() {
    this.#messages = [];
    this.#known.clear();
    this.#notices = [];
    this.more = false;
    this.readUpTo = null;
    for (const entry of this.#pending) entry.claim = null;
  }

  // --- Inside ---

  #put(message) {
    const known = this.#known.get(message.id);
    if (known) {
      if (message.seq >= known.seq) Object.assign(known, message, {ref: known.ref});
      return false;
    }
    const kept = {...message};
    this.#known.set(kept.id, kept);
    if (kept.id > this.newest) this.#messages.push(kept);
    else this.#messages.splice(this.#placeOf(kept.id), 0, kept);
    return true;
  }

  /** Binary search for the first message with a greater id. */
  #placeOf(id) {
    let low = 0;
    let high = this.#messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#messages[middle].id < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * After a reconnect a message can come before its ack. Until the ack tells its id, the same words from us
   * are taken for it; if they were others (another tab's), the ack sets it right.
   */
  #claim(message) {
    const entry = this.#pending.find(
      ({claim, failed, content}) => claim === null && failed === null && content === message.content,
    );
    if (entry) entry.claim = message.id;
  }

  #find(ref) {
    return this.#pending.find((entry) => entry.ref === ref);
  }

  #take(ref) {
    const entry = this.#find(ref);
    this.#pending = this.#pending.filter((other) => other !== entry);
    return entry;
  }
}
