/** Whether the reader may speak now, and what keeps a message waiting. Pure: times are passed in. */

const FREE = {why: null, can: true, until: null};

export class SendState {
  #held = null; // {ref, why, until}: a message of ours that the server wants later
  #spokenAt = -Infinity;

  /** The server wants a message later. @param {{ref, retryIn, error: {code}}} later of the client's event */
  later({ref, retryIn, error}, now) {
    const why = {slow_mode: "waiting", too_many: "too_many"}[error.code];
    if (why) this.#held = {ref, why, until: now + retryIn};
  }

  /** A message of ours has its answer. */
  settled(ref) {
    if (this.#held?.ref === ref) this.#held = null;
  }

  spoke(now) {
    this.#spokenAt = now;
  }

  /**
   * @param {import("../moderation/room-access.js").RoomAccess} standing
   * @param {number} now milliseconds since 1970
   * @returns {{why: string | null, can: boolean, until: number | null, slow?: number}} until: when that ends, as `now`
   */
  state({about, moderates}, now) {
    const {archived, closed, muted, readOnly, slow} = about;
    if (closed) return {why: closed, can: false, until: null};
    if (archived) return {why: "archived", can: false, until: null};
    if (muted === 0 || muted > now) return {why: "muted", can: false, until: muted || null};
    if (readOnly && !moderates) return {why: "read_only", can: false, until: null};
    if (this.#held && this.#held.until > now) return {...this.#held, can: true, slow};
    if (!slow || moderates) return FREE;
    const until = this.#spokenAt + 1_000 * slow;
    return until > now ? {why: "paused", can: true, until, slow} : {why: "slow", can: true, until: null, slow};
  }
}
