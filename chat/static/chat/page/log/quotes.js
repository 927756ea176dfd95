import {changed} from "../../client/changes.js";

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
  #kept = new Map(); // id → message, or null where the room has none with this id
  #wanted = new Set();
  #asking = null; // the id that was asked for; a reset forgets it

  /** @param {{client, room: string, timeline, onChange: () => void}} options */
  constructor({client, room, timeline, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#onChange = onChange;
  }

  /**
   * @returns {{id: number, version: string, message?: object, gone?: boolean}} without a message it is on its way,
   *   or `gone`
   */
  of = (id) => {
    const here = this.#timeline.find(id);
    const message = here ? this.#timeline.state(here) : this.#kept.get(id);
    if (message) return {id, message, version: `${message.seq} ${message.version}`};
    if (message === null) return {id, gone: true, version: "gone"};
    this.#wanted.add(id);
    return {id, version: "wanted"};
  };

  /** A change was heard: it may be of a message that is only quoted. */
  heard(frame) {
    const message = this.#kept.get(frame.id);
    if (message) this.#kept.set(frame.id, changed(message, frame));
  }

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
    this.#keep(id, page.messages?.find((message) => message.id === id) ?? null);
    this.#onChange();
    this.fetch();
  }

  /** The log is of another life. */
  reset() {
    this.#kept.clear();
    this.#wanted.clear();
    this.#asking = null;
  }

  #keep(id, message) {
    this.#wanted.delete(id);
    this.#kept.set(id, message);
    if (this.#kept.size > MOST) this.#kept.delete(this.#kept.keys().next().value);
  }
}
