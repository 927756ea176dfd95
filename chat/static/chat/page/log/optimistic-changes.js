import {toggled} from "./reactions.js";

/**
 * Changes of ours that the log does not have yet: shown at once over what it has, until it has caught up or the
 * server has refused. Pure.
 *
 * An acknowledged change stays until the message itself has come that far: the ack may be first, and the
 * message must not look for a moment as it was before.
 */
export class OptimisticChanges {
  #of = new Map(); // id → [{kind, content?, at?, emoji?, on?, seq: of the ack or null}], in the order they were made

  /**
   * @param {{kind: "edit" | "delete" | "react", content?, at?, emoji?, on?}} change at: milliseconds since 1970
   * @returns {object} a token, for what becomes of it
   */
  add(id, change) {
    const token = {id, ...change, seq: null};
    // The last word counts: an emoji that was put on and taken off again is off.
    const others = this.#list(id).filter(({kind, emoji}) => kind !== change.kind || emoji !== change.emoji);
    this.#of.set(id, [...others, token]);
    return token;
  }

  /** The server has carried it out: that is the message's state from `seq` on. */
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
   * The message as the reader shall see it. With something over it, it has `changing`, the changes that have no
   * answer yet, and `version`, which tells what is over it.
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
