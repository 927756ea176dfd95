/**
 * One WebSocket and its heartbeat. It detects that the other end is gone without a close frame: a handshake without a
 * response, or silence after a `ping`, ends it. A Socket is used once.
 */

/** Milliseconds. A dead connection looks alive for QUIET + ANSWER at most: 20 s. */
export const PACE = {CONNECT: 10_000, QUIET: 10_000, ANSWER: 10_000, PROBE: 4_000};

/** The client's own close code: this socket is given up, another follows. */
const GIVEN_UP = 4000;
/** Close code that a browser reports if there was no close frame. */
const ABNORMAL = 1006;
const OPEN = 1;

export class Socket {
  #socket;
  #clock;
  #on;
  #timer = null;
  #receivedAt = 0;
  #silent = true; // nothing arrived since the last ping

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
    this.#socket.onmessage = (event) => this.#received(event.data);
    this.#socket.onclose = (event) => this.#ended(event.code, event.reason);
    this.#socket.onerror = () => {}; // `close` follows and says more
    this.#wait(PACE.CONNECT, () => this.#dead("The server did not answer."));
  }

  /** Returns whether the frame was handed to the WebSocket. */
  send(command) {
    if (this.#socket.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify(command));
    return true;
  }

  /** Send a ping now: there is a reason to doubt the connection. */
  probe() {
    if (this.#socket.readyState === OPEN) this.#ask(PACE.PROBE);
  }

  /** Close the socket. It reports nothing any more. */
  drop(code = GIVEN_UP, reason = "") {
    this.#stopWaiting();
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code, reason);
  }

  #opened() {
    this.#receivedAt = this.#clock.now();
    this.#listen();
    this.#on.open();
  }

  #received(data) {
    this.#receivedAt = this.#clock.now();
    this.#silent = false;
    const frame = parse(data);
    if (frame) this.#on.frame(frame);
  }

  #ended(code, reason) {
    this.drop();
    this.#on.lost(code, reason);
  }

  #dead(reason) {
    // The close handshake of a dead connection takes a minute or more: don't wait for it.
    this.drop(GIVEN_UP, reason);
    this.#on.lost(ABNORMAL, reason);
  }

  /** The timer is not reset with each frame: when it fires, it checks when the last one arrived. */
  #listen() {
    const silence = this.#clock.now() - this.#receivedAt;
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
    return null; // an unreadable frame is ignored, and still a sign of life
  }
}
