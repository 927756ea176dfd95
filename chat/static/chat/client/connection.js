/**
 * Keeps a socket to the server open: opens a new one when it is lost, until it is closed or the server's close code
 * forbids it. It knows nothing of the chat but the close codes.
 */

import {Backoff} from "./backoff.js";
import {CLOSE} from "./protocol.js";
import {Socket} from "./socket.js";

/**
 * The browser's network and tab, as two callbacks: `away` (the network is gone) and `back` (it returned, or the user
 * looks at the tab again: a good moment to retry or to check the socket).
 */
export class Network {
  #window;
  #document;
  #away;
  #back;

  /** @param {{window?: Window, document?: Document}} environment either may be missing, as in Node */
  constructor({window, document}, {away, back}) {
    this.#window = window;
    this.#document = document;
    this.#away = away;
    this.#back = back;
  }

  /** False only when the browser is sure that there is no network. */
  get online() {
    return this.#window?.navigator?.onLine !== false;
  }

  watch() {
    this.#window?.addEventListener("online", this.#back);
    this.#window?.addEventListener("offline", this.#away);
    // A page from the back-forward cache has a socket that was closed while it lay there.
    this.#window?.addEventListener("pageshow", this.#shown);
    this.#document?.addEventListener("visibilitychange", this.#shown);
  }

  unwatch() {
    this.#window?.removeEventListener("online", this.#back);
    this.#window?.removeEventListener("offline", this.#away);
    this.#window?.removeEventListener("pageshow", this.#shown);
    this.#document?.removeEventListener("visibilitychange", this.#shown);
  }

  #shown = (event) => {
    if (event.type === "pageshow" && !event.persisted) return;
    if (this.#document?.visibilityState !== "hidden") this.#back();
  };
}

/**
 * Milliseconds that a socket must stay open before the backoff starts over. A `welcome` is no proof: every client
 * would reconnect several times a second to a server that greets and crashes.
 */
const STABLE = 5_000;
/** The shortest wait, in milliseconds, after the close code TOO_MANY. */
const TOO_MANY_PAUSE = 5_000;
/** The longest wait, in milliseconds, that the server may ask for. */
const SLOT_LIMIT = 300_000;

export class Connection {
  #url;
  #WebSocket;
  #clock;
  #comesBack;
  #on;
  #backoff;
  #network;
  #state = "idle";
  #socket = null;
  #retry = null; // timer of the next try
  #stable = null; // timer after which the back-off starts over
  #slot = null; // the clock time at which the server wants us back

  /**
   * @param {string} url
   * @param {{WebSocket, clock, random, environment}} options as ChatClient has them
   * @param {(code: number) => boolean} options.comesBack after the server has closed with this code?
   * @param {object} on
   * @param {(detail: {state, retryIn?, code?, reason?}) => void} on.state
   * @param {() => void} on.open a link is there
   * @param {(frame: object) => void} on.frame
   * @param {() => void} on.loss the link is gone; called before the state changes
   */
  constructor(url, {WebSocket, clock, random, environment, comesBack}, on) {
    this.#url = url;
    this.#WebSocket = WebSocket;
    this.#clock = clock;
    this.#comesBack = comesBack;
    this.#on = on;
    this.#backoff = new Backoff({random});
    this.#network = new Network(environment, {away: () => this.#away(), back: () => this.#back()});
  }

  /** "idle", "connecting", "open", "waiting", "offline" or "closed". */
  get state() {
    return this.#state;
  }

  /** Connect; or, when the next try is due later, try now. */
  connect() {
    if (this.#socket) return;
    this.#network.watch();
    this.#open();
  }

  close() {
    this.#letGo(CLOSE.NORMAL);
    this.#backoff.reset();
    this.#end(CLOSE.NORMAL, "");
  }

  /** Send a command, if the socket is open. After a loss, callers that need it send it again. */
  send(command) {
    if (this.#state === "open") this.#socket.send(command);
  }

  /** The server asks to reconnect in `after` milliseconds, not earlier: other clients have the other slots. */
  reconnectIn(after) {
    const delay = Math.min(Math.max(after, 0), SLOT_LIMIT);
    this.#slot = this.#clock.now() + delay;
    this.#cancelRetry();
    // The server usually closes the socket before that. If it does not, we reconnect at our slot.
    this.#retry = this.#clock.setTimeout(() => {
      this.#letGo();
      this.#open();
    }, delay);
  }

  #open() {
    this.#cancelRetry();
    this.#slot = null;
    try {
      this.#socket = new Socket(this.#url, {
        WebSocket: this.#WebSocket,
        clock: this.#clock,
        onOpen: () => this.#opened(),
        onFrame: this.#on.frame,
        onLost: (code, reason) => this.#lost(code, reason),
      });
      this.#become("connecting");
    } catch (error) {
      this.#end(CLOSE.NORMAL, error.message); // a retry would not help a wrong address
    }
  }

  #opened() {
    this.#stable = this.#clock.setTimeout(() => this.#backoff.reset(), STABLE);
    this.#become("open");
    if (this.#state === "open") this.#on.open(); // unless a listener closed it just now
  }

  #lost(code, reason) {
    this.#letGo();
    if (this.#comesBack(code)) this.#plan(code, reason);
    else this.#end(code, reason);
  }

  /** Drop the socket, if there is one, and its timers. */
  #letGo(code) {
    this.#cancelRetry();
    this.#clock.clearTimeout(this.#stable);
    if (!this.#socket) return;
    this.#socket.drop(code);
    this.#socket = null;
    this.#on.loss();
  }

  #plan(code, reason) {
    const online = this.#network.online;
    const retryIn = this.#delay(online, code);
    this.#retry = this.#clock.setTimeout(() => this.#open(), retryIn);
    this.#become(online ? "waiting" : "offline", {retryIn, code, reason});
  }

  #delay(online, code) {
    if (this.#slot !== null) return Math.max(0, this.#slot - this.#clock.now());
    if (code === CLOSE.TOO_MANY) return this.#backoff.after(TOO_MANY_PAUSE);
    // Browsers are sometimes wrong about "offline", so slow retries go on even then.
    return online ? this.#backoff.next() : this.#backoff.slow();
  }

  #cancelRetry() {
    this.#clock.clearTimeout(this.#retry);
    this.#retry = null;
  }

  #end(code, reason) {
    this.#network.unwatch();
    this.#slot = null;
    this.#become("closed", {code, reason});
  }

  #away() {
    this.#letGo();
    this.#plan();
  }

  #back() {
    if (this.#socket) this.#socket.probe();
    else if (this.#slot === null) this.#open(); // a slot that the server gave is kept
  }

  #become(state, detail = {}) {
    this.#state = state;
    this.#on.state({state, ...detail});
  }
}
