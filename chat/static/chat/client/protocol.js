/**
 * The constants of the wire protocol, version 1, as chat/protocol/ has them. A test holds the two equal.
 * Times on the wire are integer milliseconds since 1970; field names are camelCase.
 */

export const VERSION = 1;

/** Close codes of the server. From 4400 on a client does not reconnect by itself. */
export const CLOSE = {
  NORMAL: 1000,
  INTERNAL: 1011,
  RESTART: 1012,
  TOO_SLOW: 4008,
  IDLE: 4009,
  TOO_MANY: 4029,
  BAD_INPUT: 4400,
  NOT_SIGNED_IN: 4401,
  FORBIDDEN: 4403,
};

/** Error codes of a refused command. The socket stays open. */
export const ERROR = {
  BAD_JSON: "bad_json",
  UNKNOWN_TYPE: "unknown_type",
  BAD_FIELD: "bad_field",
  TOO_LARGE: "too_large",
  NAME_TAKEN: "name_taken",
  NAME_NEEDED: "name_needed",
  NAME_FIXED: "name_fixed",
  NOT_JOINED: "not_joined",
  NOT_FOUND: "not_found",
  FORBIDDEN: "forbidden",
  TOO_MANY_EMOJI: "too_many_emoji",
  TOO_MANY_ROOMS: "too_many_rooms",
  NAME_RESERVED: "name_reserved",
  SIGN_IN: "sign_in",
  NO_ROOM: "no_room",
  BANNED: "banned",
  MUTED: "muted",
  READ_ONLY: "read_only",
  SLOW_MODE: "slow_mode",
  REFUSED: "refused",
  NO_PERSON: "no_person",
  ROOM_FULL: "room_full",
  REF_REUSED: "ref_reused",
  NO_TOPIC: "no_topic",
  NOT_SUBSCRIBED: "not_subscribed",
  TOO_MANY_TOPICS: "too_many_topics",
  BAD_TOKEN: "bad_token",
  TOKEN_EXPIRED: "token_expired",
  TOO_MANY: "too_many",
  BUSY: "busy",
};

const FOR_LATER = new Set([ERROR.SLOW_MODE, ERROR.TOO_MANY, ERROR.BUSY]);

/** Whether a command that was refused with this code may be sent again, with the same ref. */
export function isForLater(code) {
  return FOR_LATER.has(code);
}

/**
 * Characters (code points, not UTF-16 units) of a name, a message, what is searched for, an emoji, a room's title and
 * a reason; messages of a page of history; seconds of slow mode.
 */
export const LIMIT = {
  NAME: 32,
  CONTENT: 4000,
  HISTORY: 100,
  QUERY: 200,
  EMOJI: 16,
  TITLE: 80,
  REASON: 200,
  SLOW: 3600,
};

/** The room, and the reader's role in it, as in a `welcome` or `room` event; omitted fields get their defaults. */
export function aboutRoom({
  role = "member",
  title = "",
  kind = "public",
  readOnly = false,
  slow = 0,
  archived = false,
  closed = null, // why a direct room is closed: "deleted", "deactivated" (the other account), "left"
  muted = null, // until when, in milliseconds since 1970; 0: for good
}) {
  return {role, title, kind, readOnly, slow, archived, closed, muted};
}

/**
 * Whether a client reconnects after the server closed the socket with this code.
 *
 * Unknown codes mean "reconnect" below 4400 and "don't" from there. The client reconnects after 1000 too: a proxy that
 * limits a connection's lifetime sends 1000, and a client that is done closes the socket itself.
 */
export function comesBack(code) {
  return code < 4400;
}

/** The length of `text` as the server counts it: code points. */
export function characters(text) {
  let count = 0;
  for (let i = 0; i < text.length; i += text.codePointAt(i) > 0xffff ? 2 : 1) count += 1;
  return count;
}

/**
 * A unique identifier of one command: the time in milliseconds, and 80 random bits.
 *
 * The time comes first because servers index refs: refs of one time stand together there, and a message costs a third
 * less than with refs that are random from the first letter.
 */
export function newRef() {
  const time = Date.now().toString(16).padStart(12, "0");
  // Not randomUUID: browsers have it only in secure contexts, and http://192.168.… is none.
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return time + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The reason why a ChatClient's command failed. */
export class ChatError extends Error {
  /**
   * @param {string} code a code of the protocol (see ERROR), or one of the client's own: "closed" and "left" (by us), "other_person",
   *   "disconnected" and "timeout" (of a question), "outbox_full"
   * @param {string} message a sentence for people
   * @param {{field?: string, ref?: string, retryAfter?: number}} [more] retryAfter in milliseconds
   */
  constructor(code, message, {field, ref, retryAfter} = {}) {
    super(message);
    this.name = "ChatError";
    this.code = code;
    this.field = field;
    this.ref = ref;
    this.retryAfter = retryAfter;
  }

  /** From an `error` frame. */
  static of(frame) {
    return new ChatError(frame.code, frame.message, frame);
  }
}
