/** Why something that was asked of a ChatClient will not happen. */
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
