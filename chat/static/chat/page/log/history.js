import {changed} from "../../client/changes.js";

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
  #onChange;
  #meanwhile = []; // changes that were heard while two pages are on their way
  #turn = 0; // a later jump or a reset makes what is on its way worthless

  /** @param {{client, room: string, timeline, begun?: boolean, onChange: () => void}} options */
  constructor({client, room, timeline, begun = false, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
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
    if (this.#timeline.shown.get(id)) return id;
    if (!this.#timeline.live.get(id)) return this.#around(id, ({past}) => past.at(-1)?.id === id && id);
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

  /** A change was heard: what is around a message comes in two pages, and the first of them may be older. */
  heard(frame) {
    if (this.loading === "around") this.#meanwhile.push(frame);
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
    try {
      const [past, future] = await Promise.all([
        this.#client.history(this.#room, {before: position + 1, limit: AROUND}),
        this.#client.history(this.#room, {after: position, limit: AROUND}),
      ]);
      return turn === this.#turn ? this.#look(past, future, find) : undefined;
    } finally {
      if (turn === this.#turn) this.loading = null;
      this.#onChange();
    }
  }

  #look(past, future, find) {
    const id = find({past: past.messages, future: future.messages}) || null;
    if (id === null) return null;
    const pages = [...past.messages, ...future.messages];
    const messages = pages.map((message) => this.#meanwhile.reduce(changed, message));
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
    this.#meanwhile = [];
    this.loading = this.failed = null;
  }
}
