/** What the room is, and what the reader is and may do in it. Pure. */

import {aboutRoom} from "../../client/protocol.js";
import {make, write} from "../shell/dom.js";
import {KINDS, ROLES, roomWords} from "../shell/room-words.js";

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

/** The room's title, and what kind of room it is. */
export class RoomAccessView {
  #access;
  #room;
  #name;
  #badges;
  #titled;

  /** @param {{standing, room: string, titled: (title: string) => void, roomName: HTMLElement, badges: HTMLElement}} options */
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
