import {make, write} from "../shell/dom.js";
import {KINDS, ROLES, roomWords} from "../shell/room-words.js";

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
