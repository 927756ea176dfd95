import {refusedWords} from "../shell/words.js";

/* The emoji on a message: [{emoji, count, own, place, others}], as the client marks them (person.js). Pure. */

/** The emoji of the palette. Each is one emoji to the server, and in every system's font. */
export const PALETTE = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🙏", "👀"];
/** Most different emoji on one message, as on the server. */
export const MOST = 20;

/** Whether the reader has added `emoji`, if known: the server names only the first users. */
export function has(reactions, emoji) {
  return find(reactions, emoji)?.own ?? false;
}

/** The reactions after the reader added or removed the emoji. */
export function toggled(reactions = [], emoji, on) {
  if (has(reactions, emoji) === on) return reactions;
  if (on && !find(reactions, emoji)) return [...reactions, {emoji, count: 1, own: true, place: 0, others: []}];
  return reactions
    .map((reaction) => (reaction.emoji === emoji ? moved(reaction, on) : reaction))
    .filter(({count}) => count > 0);
}

function moved(reaction, on) {
  const {count, others} = reaction;
  return {...reaction, own: on, place: on ? others.length : -1, count: count + (on ? 1 : -1)};
}

/** The emoji that may be added to a message: the palette, and those that it has. */
export function choices(reactions = []) {
  if (reactions.length >= MOST) return reactions.map(({emoji}) => emoji);
  const others = reactions.map(({emoji}) => emoji).filter((emoji) => !PALETTE.includes(emoji));
  return [...PALETTE, ...others];
}

function find(reactions = [], emoji) {
  return reactions.find((reaction) => reaction.emoji === emoji);
}

/**
 * The reader's changes that the log does not have yet: shown at once over its messages, until the log has caught up or
 * the server has refused. Pure.
 *
 * An acknowledged change stays until the message has reached its seq: the ack may arrive first, and the message must not
 * flicker back.
 */
export class OptimisticChanges {
  #of = new Map(); // id → [{kind, content?, at?, emoji?, on?, seq: of the ack or null}], in order

  /**
   * @param {{kind: "edit" | "delete" | "react", content?, at?, emoji?, on?}} change at: milliseconds since 1970
   * @returns {object} a token for `settle` and `drop`
   */
  add(id, change) {
    const token = {id, ...change, seq: null};
    // The last change counts: an emoji that was added and removed is removed.
    const others = this.#list(id).filter(({kind, emoji}) => kind !== change.kind || emoji !== change.emoji);
    this.#of.set(id, [...others, token]);
    return token;
  }

  /** The server has applied it: the message has it from `seq` on. */
  settle(token, seq) {
    token.seq = seq;
  }

  /** The server refused it. Returns whether it was still shown. */
  drop(token) {
    const list = this.#list(token.id);
    this.#keep(token.id, list.filter((other) => other !== token));
    return list.includes(token);
  }

  /**
   * The message with the reader's changes. If it has any, `changing` lists the unacknowledged ones, and `version`
   * identifies them all.
   */
  over(message) {
    if (!this.#of.has(message.id)) return message;
    const list = this.#list(message.id).filter(({seq}) => seq === null || seq > message.seq);
    this.#keep(message.id, list);
    if (list.length === 0) return message;
    const changing = list.filter(({seq}) => seq === null);
    const state = list.reduce((before, change) => shown(before, change), message);
    return {...state, changing, version: JSON.stringify(list)};
  }

  clear() {
    this.#of.clear();
  }

  #list(id) {
    return this.#of.get(id) ?? [];
  }

  #keep(id, list) {
    if (list.length) this.#of.set(id, list);
    else this.#of.delete(id);
  }
}

function shown(message, {kind, content, at, emoji, on}) {
  if (kind === "delete") return {...message, content: "", deleted: true, reactions: []};
  if (message.deleted) return message;
  if (kind === "edit") return {...message, content, edited: at};
  return {...message, reactions: toggled(message.reactions, emoji, on)};
}

/**
 * The reader's changes of messages: shown at once, and reverted with a reason if the server refuses.
 * Pure but for the client and the clock.
 */
export class MessageActions {
  #client;
  #room;
  #timeline;
  #onChange;
  #onRefused;

  /**
   * @param {object} options
   * @param {() => void} options.onChange something is to be drawn
   * @param {(refused: {kind: string, message: object, content?: string, reason: string}) => void} options.onRefused
   */
  constructor({client, room, timeline, onChange, onRefused}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#onChange = onChange;
    this.#onRefused = onRefused;
  }

  edit(message, content) {
    if (content === message.content) return;
    this.#do(message, {kind: "edit", content, at: Date.now()}, (id) => this.#client.edit(this.#room, id, content));
  }

  remove(message) {
    this.#do(message, {kind: "delete"}, (id) => this.#client.remove(this.#room, id));
  }

  react(message, emoji, on) {
    this.#do(message, {kind: "react", emoji, on}, (id) => this.#client.react(this.#room, id, emoji, on));
  }

  async #do(message, change, ask) {
    const {optimistic} = this.#timeline;
    const token = optimistic.add(message.id, change);
    this.#onChange();
    try {
      const {seq} = await ask(message.id);
      optimistic.settle(token, seq);
    } catch (error) {
      const shown = optimistic.drop(token);
      if (shown) this.#onRefused({...change, message, reason: refusedWords(change.kind, error)});
    }
    this.#onChange();
  }
}
