/**
 * One WebSocket and the watch over it. It finds out that the other end is gone, also when nobody says so:
 * a handshake without an answer, or silence after a `ping`, ends it. A Link is used once.
 */

/** Milliseconds. QUIET + ANSWER is how long a dead link can look alive: 20 s. */
export const PACE = {CONNECT: 10_000, QUIET: 10_000, ANSWER: 10_000, PROBE: 4_000};

/** A close code of the client's own: this link is given up, another follows. */
const GIVEN_UP = 4000;
/** What a browser reports for a link that ended without a close frame. */
const ABNORMAL = 1006;
const OPEN = 1;

export class Socket {
  #socket;
  #clock;
  #on;
  #timer = null;
  #heardAt = 0;
  #silent = true; // nothing came since the last ping

  /**
   * @param {string} url
   * @param {object} options
   * @param {typeof WebSocket} options.WebSocket
   * @param {{now, setTimeout, clearTimeout}} options.clock
   * @param {() => void} options.onOpen
   * @param {(frame: object) => void} options.onFrame each JSON object that came
   * @param {(code: number, reason: string) => void} options.onLost once, never after `drop`
   */
  constructor(url, {WebSocket, clock, onOpen, onFrame, onLost}) {
    this.#clock = clock;
    this.#on = {open: onOpen, frame: onFrame, lost: onLost};
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = (event) => this.#heard(event.data);
    this.#socket.onclose = (event) => this.#ended(event.code, event.reason);
    this.#socket.onerror = () => {}; // `close` follows and says more
    this.#wait(PACE.CONNECT, () => this.#dead("The server did not answer."));
  }

  /** Whether the frame was handed to the socket. */
  send(command) {
    if (this.#socket.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify(command));
    return true;
  }

  /** Ask at once whether the other end is there, for one who has a reason to doubt it. */
  probe() {
    if (this.#socket.readyState === OPEN) this.#ask(PACE.PROBE);
  }

  /** Let go of the socket. Nothing is reported any more. */
  drop(code = GIVEN_UP, reason = "") {
    this.#stopWaiting();
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code, reason);
  }

  #opened() {
    this.#heardAt = this.#clock.now();
    this.#listen();
    this.#on.open();
  }

  #heard(data) {
    this.#heardAt = this.#clock.now();
    this.#silent = false;
    const frame = parse(data);
    if (frame) this.#on.frame(frame);
  }

  #ended(code, reason) {
    this.drop();
    this.#on.lost(code, reason);
  }

  #dead(reason) {
    // The close handshake of a dead link takes a minute or more, so nobody waits for it.
    this.drop(GIVEN_UP, reason);
    this.#on.lost(ABNORMAL, reason);
  }

  /** The timer is not set anew with each frame: when it fires it looks when the last one came. */
  #listen() {
    const silence = this.#clock.now() - this.#heardAt;
    if (silence >= PACE.QUIET) this.#ask(PACE.ANSWER);
    else this.#wait(PACE.QUIET - silence, () => this.#listen());
  }

  #ask(patience) {
    this.#silent = true;
    this.send({type: "ping"});
    this.#wait(patience, () => (this.#silent ? this.#dead("The connection went silent.") : this.#listen()));
  }

  #wait(delay, then) {
    this.#stopWaiting();
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      then();
    }, delay);
  }

  #stopWaiting() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function parse(data) {
  try {
    const frame = JSON.parse(data);
    return frame !== null && typeof frame === "object" ? frame : null;
  } catch {
    return null; // not ours to judge: what cannot be read is not acted on, and it was a sign of life
  }
}
