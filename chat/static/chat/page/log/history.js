/** Messages of one page, and to either side of a message that was jumped to. */
const PAGE = 50;
const AROUND = 30;

/**
 * Pages of a room's history on their way into its timeline: the latest, then those before and after what is
 * shown, and those around a message far away.
 */
export class HistoryPages {
  begun; // the latest page is in the timeline
  loading = null; // "latest", "older", "newer" or "around"
  failed = null; // the same, of the last request, though there was a connection
  #client;
  #room;
  #timeline;
  #messages;
  #onChange;
  #turn = 0; // a later jump or a reset makes what is on its way worthless

  /** @param {{client, room: string, timeline, messages, begun?: boolean, onChange: () => void}} options */
  constructor({client, room, timeline, messages, begun = false, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#messages = messages;
    this.begun = begun;
    this.#onChange = onChange;
  }

  /** The latest page, unless it is here. Called at each welcome: an earlier try may have lost its connection. */
  async begin() {
    if (this.begun) return;
    await this.#load("latest", {}, (page) => {
      this.#timeline.latest(page);
      this.begun = true;
    });
  }

  /** The page before what is shown. */
  async older() {
    const {shown} = this.#timeline;
    if (!this.begun || !shown.before) return;
    const before = shown.oldest;
    await this.#load("older", {before}, (page) => {
      // What was let go meanwhile would leave a gap.
      if (this.#timeline.shown === shown && shown.oldest === before) this.#timeline.older(page);
    });
  }

  /** The page after what is shown, for one who does not look at the live end. */
  async newer() {
    const {window} = this.#timeline;
    if (!window) return;
    const after = window.newest;
    await this.#load("newer", {after}, (page) => {
      if (this.#timeline.window === window && window.newest === after) this.#timeline.newer(page);
    });
  }

  /**
   * Have a message in what is shown, with what stands around it.
   * @returns {Promise<number | null | undefined>} its id; null where it is not there any more; undefined where the
   *   reader has gone elsewhere meanwhile; rejected with a ChatError when it can't be told
   */
  async goTo(id) {
    this.#supersede();
    if (this.#timeline.shown.has(id)) return id;
    if (!this.#timeline.live.has(id)) return this.#around(id, ({past}) => past.at(-1)?.id === id && id);
    this.#timeline.lookAtLive();
    this.#onChange();
    return id;
  }

  /** As `goTo`, for the first message after a position of the log. */
  goAfter(position) {
    this.#supersede();
    return this.#around(position, ({future}) => future[0]?.id);
  }

  /** The reader goes to the live end: what is on its way is not wanted any more. */
  leave() {
    if (!this.#timeline.window && this.loading !== "around") return;
    this.#supersede();
    this.#timeline.lookAtLive();
    this.#onChange();
  }

  /** The log is of another life. */
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

  /** One page at a time. `take` puts it in its place. */
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

/** Quotes kept: more than a page has messages, or those at its two ends would push each other out for ever. */
const MOST = 3_000;

/**
 * What a message answers, for the few words above it. What the timeline does not have is fetched: one at a time,
 * each once, the last asked for first. Pure but for the client.
 */
export class Quotes {
  #client;
  #room;
  #timeline;
  #onChange;
  #messages;
  #kept = new Map(); // id → whether the room has a message with this id; if so, it is held
  #wanted = new Set();
  #asking = null; // the id that was asked for; a reset forgets it

  /** @param {{client, room: string, timeline, messages, onChange: () => void}} options */
  constructor({client, room, timeline, messages, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#messages = messages;
    this.#onChange = onChange;
  }

  /**
   * @returns {{id: number, version: string, message?: object, gone?: boolean}} without a message it is on its way,
   *   or `gone`
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

  /** Fetch what is wanted. Called after drawing, and when the room is entered. */
  async fetch() {
    if (this.#asking !== null || this.#wanted.size === 0) return;
    const id = [...this.#wanted].at(-1);
    this.#asking = id;
    const page = await this.#client.history(this.#room, {before: id + 1, limit: 1}).catch((error) => error);
    if (this.#asking !== id) return;
    this.#asking = null;
    if (page.code === "disconnected") return; // again when the room is entered
    // What the server does not tell now is not asked for at every drawing.
    this.#keep(id, page.messages?.find((message) => message.id === id));
    this.#onChange();
    this.fetch();
  }

  /** The log is of another life. */
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
