/**
 * One room that the user wants to be in, and how far its log has been seen.
 *
 * `lastSeq` follows what came through the log (`message` and later changes), never an ack: others' messages
 * with lower numbers may still be on their way to us when ours is acknowledged.
 */
export class Membership {
  lastSeq = null; // null until the first welcome
  epoch = null;
  joined = false; // on the present link
  refused = false; // the server said no for good; only another `join` asks again
  again = null; // timer of the next try, until the welcome
  #username;
  #resolve;
  #reject;

  /** @param {Membership} [former] the refused one that this follows: the log is read on from there */
  constructor(room, username, ref, former) {
    this.room = room;
    this.ref = ref; // of its join commands
    this.#username = username;
    if (former) ({lastSeq: this.lastSeq, epoch: this.epoch} = former);
    this.welcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.welcome.catch(() => {}); // who does not look at the promise still gets the "error" event
  }

  /** The command that enters, or enters again where the log was left. */
  get command() {
    const command = {type: "join", room: this.room, ref: this.ref};
    if (this.#username !== undefined) command.username = this.#username;
    if (this.lastSeq !== null) Object.assign(command, {since: this.lastSeq, epoch: this.epoch});
    return command;
  }

  /**
   * Take a `welcome` in. Returns "first", "resumed" (what was missed follows) or "reset" (start over).
   *
   * After "resumed" lastSeq stays: the messages up to the welcome's seq have yet to come.
   */
  welcomed(frame) {
    const how = this.lastSeq === null ? "first" : frame.resumed ? "resumed" : "reset";
    if (how !== "resumed") this.lastSeq = frame.seq;
    this.epoch = frame.epoch;
    this.joined = true;
    this.#resolve(frame);
    return how;
  }

  refuse(error) {
    this.refused = true;
    this.#reject(error);
  }

  /** Whether a numbered change of the room is new. It counts as seen from then on. */
  sees(seq) {
    // What comes before the first welcome is in the history that everybody asks for after it.
    if (this.lastSeq === null || seq <= this.lastSeq) return false;
    this.lastSeq = seq;
    return true;
  }
}
