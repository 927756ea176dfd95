import {make, write} from "./dom.js";
import {KINDS, ROLES, roomWords} from "./room-words.js";

/** The room's title, and what kind of room it is. */
export class StandingView {
  #standing;
  #room;
  #name;
  #badges;
  #titled;

  /** @param {{standing, room: string, titled: (title: string) => void, roomName: HTMLElement, badges: HTMLElement}} options */
  constructor({standing, room, titled, roomName, badges}) {
    this.#standing = standing;
    this.#room = room;
    this.#name = roomName;
    this.#badges = badges;
    this.#titled = titled;
  }

  draw() {
    const {title, kind, role, archived, closed} = this.#standing.about;
    write(this.#name, title || this.#room);
    this.#titled(title || this.#room);
    const special = this.#standing.known && (role === "owner" || role === "moderator");
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
