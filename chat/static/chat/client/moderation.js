/**
 * Commands of moderators and owners, and reports to them. Each is sent once and settles with the server's reply. It is
 * rejected with a ChatError ("forbidden", "no_person", …); with "disconnected" if the connection is lost before the
 * reply: the server may have carried it out.
 */
export class Moderation {
  #ask;

  /** @param {(command: object) => Promise<object>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * Remove a user for a minute (by default). In a room that is not public this ends their membership.
   * @param {{reason?: string, address?: boolean}} [options] address: also every guest with the same address
   */
  kick(room, username, {reason = "", address} = {}) {
    return this.#ask({type: "kick", room, username, reason, address});
  }

  /**
   * Mute a user: they may read and not write.
   * @param {{seconds?: number, reason?: string, address?: boolean}} [options] no seconds: permanent; address: as above
   */
  mute(room, username, {seconds, reason = "", address} = {}) {
    return this.#ask({type: "mute", room, username, seconds, reason, address});
  }

  unmute(room, username) {
    return this.#ask({type: "mute", room, username, on: false});
  }

  /**
   * Ban a user.
   * @param {{seconds?: number, reason?: string, address?: boolean}} [options] no seconds: permanent; address: as above
   */
  ban(room, username, {seconds, reason = "", address} = {}) {
    return this.#ask({type: "ban", room, username, seconds, reason, address});
  }

  /**
   * How many other guests share a user's address, before it is restricted.
   * @returns {Promise<{others: number, restrictable: boolean}>} others: guests in the room
   */
  sharing(room, username) {
    return this.#ask({type: "sharing", room, username});
  }

  unban(room, username) {
    return this.#ask({type: "ban", room, username, on: false});
  }

  /** @param {"owner" | "moderator" | "member" | "none"} role none: ends the membership; also one's own */
  setRole(room, username, role) {
    return this.#ask({type: "role", room, username, role});
  }

  /** Change the room. @param {{title?: string, readOnly?: boolean, slow?: number, archived?: boolean}} settings */
  configure(room, {title, readOnly, slow, archived}) {
    return this.#ask({type: "room", room, title, readOnly, slow, archived});
  }

  /**
   * The users with a role, and, for moderators, the muted and banned ones.
   * @returns {Promise<{members: {username, role}[], restricted?: {username, kind, until?, reason?}[]}>}
   */
  members(room) {
    return this.#ask({type: "members", room});
  }

  /** Make a user a member, or, without a name, create an invitation link. @returns {Promise<{path?, expires?}>} of the link */
  invite(room, username) {
    return this.#ask({type: "invite", room, username});
  }

  /** Report a message to the moderators. */
  report(room, id, {reason = ""} = {}) {
    return this.#ask({type: "report", room, id, reason});
  }
}
