import {errorWords} from "../shell/words.js";
import {roomWords} from "../shell/room-words.js";

/** What is done to people: asked first where it weighs, and told when it is done. */
export class PersonActions {
  #moderation;
  #client;
  #room;
  #access;
  #confirmDialog;
  #tell;
  #visit;

  /**
   * @param {object} options
   * @param {import("./confirm-dialog.js").ConfirmDialog} options.deciding
   * @param {(sentence: string) => void} options.tell
   * @param {(room: string) => void} options.visit go to another room
   */
  constructor({client, room, access, confirmDialog, tell, visit}) {
    this.#client = client;
    this.#moderation = client.moderation;
    this.#room = room;
    this.#access = access;
    this.#confirmDialog = confirmDialog;
    this.#tell = tell;
    this.#visit = visit;
  }

  /** @param {string} act one of `standing.actions` */
  async do(act, name) {
    try {
      const told = await this.#deeds[act](name);
      if (told) this.#tell(told);
    } catch (error) {
      this.#tell(errorWords(error));
    }
  }

  #deeds = {
    direct: async (name) => this.#visit((await this.#client.direct(name)).room),
    mute10: (name) => this.#mute(name, 600, "10 minutes"),
    mute60: (name) => this.#mute(name, 3_600, "an hour"),
    unmute: async (name) => {
      await this.#moderation.unmute(this.#room, name);
      return roomWords.unmuted(name);
    },
    kick: (name) => this.#kick(name),
    ban: (name) => this.#ban(name),
    moderator: (name) => this.#appoint(name, "moderator"),
    owner: (name) => this.#makeOwner(name),
  };

  async #mute(name, seconds, time) {
    await this.#moderation.mute(this.#room, name, {seconds});
    return roomWords.muted(name, time);
  }

  async #kick(name) {
    const hint = roomWords.kickHint(this.#access.about.kind);
    const {sureToKick, reallyKick: confirm} = roomWords;
    const address = this.#offerAddress(name);
    const decided = await this.#confirmDialog.ask({title: sureToKick(name), hint, confirm, reason: true, address});
    if (!decided) return null;
    await this.#moderation.kick(this.#room, name, {reason: decided.reason, address: decided.address});
    return roomWords.kicked(name);
  }

  async #ban(name) {
    const {sureToBan, banHint: hint, reallyBan: confirm} = roomWords;
    const question = {title: sureToBan(name), hint, confirm, length: true, reason: true};
    const decided = await this.#confirmDialog.ask({...question, address: this.#offerAddress(name)});
    if (!decided) return null;
    await this.#moderation.ban(this.#room, name, decided);
    return roomWords.banned(name);
  }

  /** The words about the address; null if it can't be restricted, or an older server doesn't know. */
  async #offerAddress(name) {
    try {
      const {restrictable, others, known = true} = await this.#moderation.sharing(this.#room, name);
      return restrictable ? roomWords.withAddress(others, known) : null;
    } catch {
      return null;
    }
  }

  async #makeOwner(name) {
    const {sureToMakeOwner, ownerHint: hint, reallyMakeOwner: confirm} = roomWords;
    const decided = await this.#confirmDialog.ask({title: sureToMakeOwner(name), hint, confirm});
    return decided && this.#appoint(name, "owner");
  }

  async #appoint(name, role) {
    await this.#moderation.setRole(this.#room, name, role);
    return roomWords.appointed(name, role);
  }
}
