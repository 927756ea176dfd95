/**
 * What moderators and owners do in a room, and what everybody can tell them. Each asks the server once and settles with
 * its answer; rejected with a ChatError ("forbidden", "no_person", …), "disconnected" where the connection is lost
 * before the answer: then it may have been done.
 */
export class Moderation {
  #ask;

  /** @param {(command: object) => Promise<object>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * Take somebody out, for a minute (by default); of a room that is not public they are no member any more.
   * @param {{reason?: string, address?: boolean}} [options] address: also every guest who comes from where they do
   */
  kick(room, username, {reason = "", address} = {}) {
    return this.#ask({type: "kick", room, username, reason, address});
  }

  /**
   * Let somebody be there and not speak.
   * @param {{seconds?: number, reason?: string, address?: boolean}} [options] no seconds: for good; address: as above
   */
  mute(room, username, {seconds, reason = "", address} = {}) {
    return this.#ask({type: "mute", room, username, seconds, reason, address});
  }

  unmute(room, username) {
    return this.#ask({type: "mute", room, username, on: false});
  }

  /**
   * Put somebody out.
   * @param {{seconds?: number, reason?: string, address?: boolean}} [options] no seconds: for good; address: as above
   */
  ban(room, username, {seconds, reason = "", address} = {}) {
    return this.#ask({type: "ban", room, username, seconds, reason, address});
  }

  /**
   * How many others come from somebody's address, before it is restricted.
   * @returns {Promise<{others: number, restrictable: boolean}>} others: guests in the room
   */
  sharing(room, username) {
    return this.#ask({type: "sharing", room, username});
  }

  unban(room, username) {
    return this.#ask({type: "ban", room, username, on: false});
  }

  /** @param {"owner" | "moderator" | "member" | "none"} role none: a member no more; also for oneself */
  setRole(room, username, role) {
    return this.#ask({type: "role", room, username, role});
  }

  /** Change the room. @param {{title?: string, readOnly?: boolean, slow?: number, archived?: boolean}} settings */
  configure(room, {title, readOnly, slow, archived}) {
    return this.#ask({type: "room", room, title, readOnly, slow, archived});
  }

  /**
   * Who has a role, and, for moderators, who is muted or banned.
   * @returns {Promise<{members: {username, role}[], restricted?: {username, kind, until?, reason?}[]}>}
   */
  members(room) {
    return this.#ask({type: "members", room});
  }

  /** Make somebody a member; without a name, make a link that does. @returns {Promise<{path?, expires?}>} of the link */
  invite(room, username) {
    return this.#ask({type: "invite", room, username});
  }

  /** Tell the moderators of a message. */
  report(room, id, {reason = ""} = {}) {
    return this.#ask({type: "report", room, id, reason});
  }
}
