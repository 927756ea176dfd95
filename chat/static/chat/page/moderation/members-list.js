import {make} from "../shell/dom.js";
import {ROLES, roomWords} from "../shell/room-words.js";
import {shortTime} from "../shell/times.js";

/** Who has a role in the room, and who is muted or banned. Owners give roles here, moderators lift what they can. */
export class MembersList {
  #client;
  #room;
  #access;
  #attempt;
  #parts;

  constructor({client, room, access, attempt, ...parts}) {
    this.#client = client;
    this.#room = room;
    this.#access = access;
    this.#attempt = attempt;
    this.#parts = parts;
  }

  load() {
    const {membersBox, restrictedBox} = this.#parts;
    membersBox.hidden = restrictedBox.hidden = true;
    return this.#attempt(() => this.#load());
  }

  async #load() {
    const {members, restricted = []} = await this.#client.moderation.members(this.#room);
    const {membersBox, membersList, restrictedBox, restrictedList} = this.#parts;
    membersList.replaceChildren(...members.map((member) => this.#member(member)));
    restrictedList.replaceChildren(...restricted.map((one) => this.#restriction(one)));
    membersBox.hidden = members.length === 0;
    restrictedBox.hidden = restricted.length === 0;
  }

  /** Do it, tell it, and show how things stand then. */
  #change(work, told) {
    return this.#attempt(async () => {
      await work();
      await this.#load();
      return told;
    });
  }

  #member({username, role}) {
    const changeable = this.#access.owns && this.#access.about.kind !== "direct";
    const shown = changeable ? this.#roles(username, role) : make("span", {className: "quiet"}, ROLES[role]);
    return make("li", {className: "member"}, make("bdi", {title: username}, username), shown);
  }

  #roles(username, role) {
    const names = ["owner", "moderator", "member"].map((name) => [name, ROLES[name]]);
    const options = [...names, ["none", roomWords.takeOut]].map(([value, words]) =>
      make("option", {value, selected: value === role}, words),
    );
    const select = make("select", {ariaLabel: roomWords.roleOf(username)}, ...options);
    select.addEventListener("change", () => this.#appoint(username, select, role));
    return select;
  }

  async #appoint(username, select, before) {
    const role = select.value;
    const told = role === "none" ? roomWords.ended(username) : roomWords.appointed(username, role);
    await this.#change(() => this.#client.moderation.setRole(this.#room, username, role), told);
    if (select.isConnected) select.value = before; // it was refused
  }

  #restriction({username, kind, until, reason}) {
    const what = kind === "ban" ? roomWords.isBanned : roomWords.isMuted;
    const facts = [what, until === undefined ? roomWords.forGood : roomWords.until(shortTime(until)), reason];
    const properties = {type: "button", className: "small", ariaLabel: roomWords.liftFor(username, kind)};
    const button = make("button", properties, roomWords.lift);
    button.addEventListener("click", () => this.#lift(username, kind));
    const words = make("span", {className: "quiet"}, facts.filter(Boolean).join(" · "));
    return make("li", {className: "member"}, make("span", {}, make("bdi", {}, username), " ", words), button);
  }

  #lift(username, kind) {
    const {moderation} = this.#client;
    const told = kind === "ban" ? roomWords.unbanned(username) : roomWords.unmuted(username);
    const lift = () => moderation[kind === "ban" ? "unban" : "unmute"](this.#room, username);
    return this.#change(lift, told);
  }
}
