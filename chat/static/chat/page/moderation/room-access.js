/** The room's settings, and the reader's role and rights in it. */

import {aboutRoom} from "../../client/protocol.js";
import {make, write} from "../shell/dom.js";
import {KINDS, ROLES, roomWords} from "../shell/room-words.js";

const RANKS = {guest: 0, member: 1, moderator: 2, owner: 3};

export class RoomAccess {
  about;
  account; // the reader has an account
  #known = false; // the server has sent the role

  /** @param {{about: object, account: boolean}} page the state in the page's HTML */
  constructor({about, account}) {
    this.about = aboutRoom({...about, role: "guest"});
    this.account = account;
  }

  /** A `welcome` or a `room` event arrived. */
  received(frame) {
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

  /** Whether the reader may end their own membership. */
  get leaves() {
    return this.#known && this.about.kind === "private";
  }

  /** Actions for other users in the list, by their keys in room-words.js. */
  get actions() {
    if (!this.#known || this.about.kind === "direct") return [];
    return [
      ...(this.account ? ["direct"] : []),
      ...(this.moderates ? ["mute10", "mute60", "unmute", "kick", "ban"] : []),
      ...(this.owns ? ["moderator", "owner"] : []),
    ];
  }
}

/** The room's title, and what kind of room it is. */
export class RoomAccessView {
  #access;
  #room;
  #name;
  #badges;
  #titled;

  /** @param {{access, room: string, titled: (title: string) => void, roomName: HTMLElement, badges: HTMLElement}} options */
  constructor({access, room, titled, roomName, badges}) {
    this.#access = access;
    this.#room = room;
    this.#name = roomName;
    this.#badges = badges;
    this.#titled = titled;
  }

  draw() {
    const {title, kind, role, archived, closed} = this.#access.about;
    write(this.#name, title || this.#room);
    this.#titled(title || this.#room);
    const special = this.#access.known && (role === "owner" || role === "moderator");
    this.#badges.replaceChildren(
      ...badge(KINDS[kind].badge),
      ...badge(closed ? roomWords.closed : archived ? roomWords.archived : ""),
      ...badge(special ? ROLES[role] : "", "role"),
    );
  }
}

function badge(word, className = "") {
  return word ? [make("span", {className: `badge ${className}`}, word)] : [];
}
