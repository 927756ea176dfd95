/** Notices kept. */
const MOST = 200;

/** Comings and goings, as notices between the messages: {after: id, joined: [name], left: [name]}. Pure. */
export class MembershipNotices {
  #notices = []; // by `after`

  get notices() {
    return this.#notices.filter(({joined, left}) => joined.length || left.length);
  }

  /** @param {number} after the id of the message after which it happened */
  joined(name, after) {
    this.#note("joined", "left", name, after);
  }

  left(name, after) {
    this.#note("left", "joined", name, after);
  }

  /** Forget what happened before the oldest message that is kept. */
  forgetBefore(id) {
    this.#notices = this.#notices.filter(({after}) => after >= id);
  }

  clear() {
    this.#notices = [];
  }

  /** In a run without messages between, one who comes and goes is no news. */
  #note(list, opposite, name, after) {
    const notice = this.#open(after);
    const before = notice[opposite].indexOf(name);
    if (before >= 0) notice[opposite].splice(before, 1);
    else if (!notice[list].includes(name)) notice[list].push(name);
  }

  #open(after) {
    const last = this.#notices.at(-1);
    if (last?.after === after) return last;
    const notice = {after, joined: [], left: []};
    this.#notices.push(notice);
    if (this.#notices.length > MOST) this.#notices.shift();
    return notice;
  }
}
