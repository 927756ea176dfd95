import {roomWords} from "../shell/room-words.js";
import {shortTime} from "../shell/times.js";

/** How others become members: by a link, or by name. */
export class Invitations {
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
    parts.inviteMake.addEventListener("click", () => attempt(() => this.#makeLink()));
    parts.inviteCopy.addEventListener("click", () => attempt(() => this.#copy()));
    parts.inviteForm.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => this.#add());
    });
  }

  begin() {
    this.#parts.inviteLinkBox.hidden = true;
    this.#parts.inviteMake.hidden = false;
    this.#parts.inviteName.value = "";
  }

  draw() {
    this.#parts.invite.hidden = !this.#access.invites;
  }

  async #makeLink() {
    const {inviteLink, inviteLinkBox, inviteMake, inviteExpires, inviteCopy} = this.#parts;
    const {path, expires} = await this.#client.moderation.invite(this.#room);
    inviteLink.value = new URL(path, location.href).href;
    inviteExpires.textContent = roomWords.expires(shortTime(expires));
    inviteLinkBox.hidden = false;
    inviteMake.hidden = true;
    inviteCopy.focus();
  }

  async #copy() {
    const {inviteLink} = this.#parts;
    inviteLink.select();
    try {
      await navigator.clipboard.writeText(inviteLink.value);
      return roomWords.copied;
    } catch {
      return roomWords.copyYourself; // not every page may
    }
  }

  async #add() {
    const {inviteName} = this.#parts;
    const name = inviteName.value.trim();
    if (!name) return null;
    await this.#client.moderation.invite(this.#room, name);
    inviteName.value = "";
    return roomWords.invited(name);
  }
}
