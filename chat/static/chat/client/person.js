/**
 * The reader's key, and the `own` marks that follow from it. Pure.
 *
 * The server gives each person an opaque key: in `welcome` (and in the page) as `you`, on what they said and did as
 * `by`. Names decide nothing: a later guest may have the same one, and an account may get another. Frames without
 * a key, from a guest with a bare name or from a server of a version before, are nobody's here.
 */
export class Person {
  /** The key; "" if the server knows only a name; null before the first `welcome`. */
  key;

  constructor(key = null) {
    this.key = key;
  }

  /**
   * Mark a frame, and what is in it: `own` on messages, joins, leaves, typing and emoji.
   * @param {string} [username] the name that the room's `welcome` gave: in the list of who is here `own` is its place
   */
  mark(frame, username) {
    switch (frame.type) {
      case "history":
      case "found":
        return Object.assign(frame, {messages: this.messages(frame.messages)});
      case "message":
        return this.message(frame);
      case "edit":
      case "react":
        return this.#reactions(frame);
      case "join":
      case "leave":
      case "typing":
        return Object.assign(frame, {own: this.#is(frame.by)});
      case "userList":
        // In one room a name is had once, and which one the reader has the server told.
        return Object.assign(frame, {own: frame.users.indexOf(username)});
      default:
        return frame;
    }
  }

  messages(messages) {
    for (const message of messages) this.message(message);
    return messages;
  }

  message(message) {
    return this.#reactions(Object.assign(message, {own: this.#is(message.by)}));
  }

  /** Each emoji gets `own`, and the names that are told: `others`, with the reader at `place` among them. */
  #reactions(frame) {
    for (const reaction of frame.reactions ?? []) {
      const {usernames, by = []} = reaction;
      const place = by.findIndex((key) => this.#is(key));
      const others = usernames.filter((_, i) => i !== place);
      Object.assign(reaction, {own: place >= 0, place, others});
    }
    return frame;
  }

  #is(key) {
    return Boolean(key) && key === this.key;
  }
}
