/** Messages of one page, and to either side of a message that was jumped to. */
const PAGE = 50;
const AROUND = 30;

/**
 * Fetches pages of a room's history into its timeline: the latest page, those before and after the shown messages, and
 * those around a distant message.
 */
export class HistoryPages {
  begun; // the latest page is in the timeline
  loading = null; // "latest", "older", "newer" or "around"
  failed = null; // kind of the last request, if it failed with a connection
  #client;
  #room;
  #timeline;
  #messages;
  #onChange;
  #turn = 0; // a later jump or a reset invalidates requests in flight

  /** @param {{client, room: string, timeline, messages, begun?: boolean, onChange: () => void}} options */
  constructor({client, room, timeline, messages, begun = false, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#messages = messages;
    this.begun = begun;
    this.#onChange = onChange;
  }

  /** Fetch the latest page, unless it is here. Called at each welcome: an earlier attempt may have lost its connection. */
  async begin() {
    if (this.begun) return;
    await this.#load("latest", {}, (page) => {
      this.#timeline.latest(page);
      this.begun = true;
    });
  }

  /** Fetch the page before the shown messages. */
  async older() {
    const {shown} = this.#timeline;
    if (!this.begun || !shown.before) return;
    const before = shown.oldest;
    await this.#load("older", {before}, (page) => {
      // If messages were dropped meanwhile, the page would leave a gap.
      if (this.#timeline.shown === shown && shown.oldest === before) this.#timeline.older(page);
    });
  }

  /** Fetch the page after the shown messages, away from the live end. */
  async newer() {
    const {window} = this.#timeline;
    if (!window) return;
    const after = window.newest;
    await this.#load("newer", {after}, (page) => {
      if (this.#timeline.window === window && window.newest === after) this.#timeline.newer(page);
    });
  }

  /**
   * Show a message with the messages around it.
   * @returns {Promise<number | null | undefined>} its id; null if it is gone; undefined if the reader went
   *   elsewhere meanwhile; rejected with a ChatError if the request failed
   */
  async goTo(id) {
    this.#supersede();
    if (this.#timeline.shown.has(id)) return id;
    if (!this.#timeline.live.has(id)) return this.#around(id, ({past}) => past.at(-1)?.id === id && id);
    this.#timeline.lookAtLive();
    this.#onChange();
    return id;
  }

  /** As `goTo`, for the first message after a position in the log. */
  goAfter(position) {
    this.#supersede();
    return this.#around(position, ({future}) => future[0]?.id);
  }

  /** The reader goes to the live end: requests in flight are ignored. */
  leave() {
    if (!this.#timeline.window && this.loading !== "around") return;
    this.#supersede();
    this.#timeline.lookAtLive();
    this.#onChange();
  }

  /** The log has a new epoch. */
  reset() {
    this.#supersede();
    this.begun = false;
    this.#timeline.reset();
  }

  async #around(position, find) {
    const turn = this.#turn;
    this.loading = "around";
    this.#onChange();
    const pages = await Promise.allSettled([
      this.#held({before: position + 1, limit: AROUND}),
      this.#held({after: position, limit: AROUND}),
    ]);
    const failure = pages.find(({status}) => status === "rejected");
    const current = turn === this.#turn;
    if (current) this.loading = null;
    const id = current && !failure ? this.#look(...pages.map(({value}) => value), find) : undefined;
    for (const {value} of pages) for (const message of value?.messages ?? []) this.#messages.release(message.id);
    this.#onChange();
    if (failure) throw failure.reason;
    return id;
  }

  /** A page whose messages are held: they may change before the other page is here. */
  async #held(place) {
    const page = await this.#client.history(this.#room, place);
    for (const message of page.messages) this.#messages.hold(message);
    return page;
  }

  #look(past, future, find) {
    const id = find({past: past.messages, future: future.messages}) || null;
    if (id === null) return null;
    const messages = [...past.messages, ...future.messages];
    this.#timeline.lookAt({messages, before: past.more, after: future.more});
    return id;
  }

  /** Fetch one page at a time; `take` inserts it. */
  async #load(kind, place, take) {
    if (this.loading) return;
    const turn = this.#turn;
    this.loading = kind;
    this.failed = null;
    this.#onChange();
    const page = await this.#client.history(this.#room, {...place, limit: PAGE}).catch((error) => error);
    if (turn !== this.#turn) return;
    this.loading = null;
    if (!(page instanceof Error)) take(page);
    else if (page.code !== "disconnected") this.failed = kind;
    this.#onChange();
  }

  #supersede() {
    this.#turn += 1;
    this.loading = this.failed = null;
  }
}

/** Most quotes kept: more than a page has messages, or those at its two ends would evict each other for ever. */
const MOST = 3_000;

/**
 * The messages that others reply to, for the quotes above them. Missing ones are fetched: one at a time, each once, the
 * latest request first. Pure but for the client.
 */
export class Quotes {
  #client;
  #room;
  #timeline;
  #onChange;
  #messages;
  #kept = new Map(); // id → whether the room has a message with this id; if so, it is held
  #wanted = new Set();
  #asking = null; // the requested id; a reset clears it

  /** @param {{client, room: string, timeline, messages, onChange: () => void}} options */
  constructor({client, room, timeline, messages, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#messages = messages;
    this.#onChange = onChange;
  }

  /**
   * @returns {{id: number, version: string, message?: object, gone?: boolean}} without a message it is
   *   being fetched, or `gone`
   */
  of = (id) => {
    const here = this.#messages.get(id);
    if (here) {
      const message = this.#timeline.state(here);
      return {id, message, version: `${message.seq} ${message.version}`};
    }
    if (this.#kept.get(id) === false) return {id, gone: true, version: "gone"};
    this.#wanted.add(id);
    return {id, version: "wanted"};
  };

  /** Fetch a wanted message. Called after drawing, and after a join. */
  async fetch() {
    if (this.#asking !== null || this.#wanted.size === 0) return;
    const id = [...this.#wanted].at(-1);
    this.#asking = id;
    const page = await this.#client.history(this.#room, {before: id + 1, limit: 1}).catch((error) => error);
    if (this.#asking !== id) return;
    this.#asking = null;
    if (page.code === "disconnected") return; // fetched again after the next join
    // A message that the server does not have is not requested at every drawing.
    this.#keep(id, page.messages?.find((message) => message.id === id));
    this.#onChange();
    this.fetch();
  }

  /** The log has a new epoch. */
  reset() {
    for (const id of [...this.#kept.keys()]) this.#drop(id);
    this.#wanted.clear();
    this.#asking = null;
  }

  #keep(id, message) {
    this.#wanted.delete(id);
    if (message) this.#messages.hold(message);
    this.#kept.set(id, message !== undefined);
    if (this.#kept.size > MOST) this.#drop(this.#kept.keys().next().value);
  }

  #drop(id) {
    if (this.#kept.get(id)) this.#messages.release(id);
    this.#kept.delete(id);
  }
}
