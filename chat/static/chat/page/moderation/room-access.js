/** What the room is, and what the reader is and may do in it. Pure. */

import {aboutRoom} from "../../client/protocol.js";

const RANKS = {guest: 0, member: 1, moderator: 2, owner: 3};

export class RoomAccess {
  about;
  account; // is the reader signed in?
  #known = false; // the server has told the role

  /** @param {{about: object, account: boolean}} page what the page brought */
  constructor({about, account}) {
    this.about = aboutRoom({...about, role: "guest"});
    this.account = account;
  }

  /** A `welcome` or a `room` event came. */
  heard(frame) {
    this.about = aboutRoom(frame);
    this.#known = true;
  }

  get known() {
    return this.#known;
  }

  get moderates() {
    return this.#known && RANKS[this.about.role] >= RANKS.moderator;
  }

  get owns() {
    return this.#known && this.about.role === "owner";
  }

  get invites() {
    return this.moderates && this.about.kind === "private";
  }

  /** May the reader end a membership of their own? */
  get leaves() {
    return this.#known && this.about.kind === "private";
  }

  /** Actions for others in the list, by names that room-words.js has words for. */
  get actions() {
    if (!this.#known || this.about.kind === "direct") return [];
    return [
      ...(this.account ? ["direct"] : []),
      ...(this.moderates ? ["mute10", "mute60", "unmute", "kick", "ban"] : []),
      ...(this.owns ? ["moderator", "owner"] : []),
    ];
  }
}
