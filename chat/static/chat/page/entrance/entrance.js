import {CLOSE, ERROR} from "../../client/protocol.js";
import {elements, write} from "../shell/dom.js";
import {connectionWords, errorWords} from "../shell/words.js";

/** The connection's state in words, with a countdown while it waits and a retry button. */
export class ConnectionView {
  #box;
  #said;
  #shown;
  #button;
  #ticking = null;
  #detail = {state: "connecting"};
  #late = false;

  /**
   * @param {object} options
   * @param {HTMLElement} options.box carries the state as data-state
   * @param {HTMLElement} options.said a live region: it changes with the state only, never with the countdown
   * @param {HTMLElement} options.shown the countdown, hidden from screen readers
   * @param {HTMLButtonElement} options.button
   * @param {() => void} options.onTry
   */
  constructor({box, said, shown, button, onTry}) {
    this.#box = box;
    this.#said = said;
    this.#shown = shown;
    this.#button = button;
    button.addEventListener("click", onTry);
  }

  /** @param {{state, retryIn?, code?, reason?}} detail of the client's `state` event */
  draw(detail) {
    // Only a server knows whether others may be late; the next one sends it after its welcome.
    if (detail.state !== "open") this.#late = false;
    this.#detail = detail;
    this.#draw();
  }

  /** The server lost the other servers, or has them again: messages of users there may be late. */
  late(late) {
    this.#late = late;
    this.#draw();
  }

  #draw() {
    const detail = this.#late ? {...this.#detail, state: "late"} : this.#detail;
    clearInterval(this.#ticking);
    this.#box.dataset.state = detail.state;
    this.#button.hidden = !["waiting", "offline", "closed"].includes(detail.state);
    const until = performance.now() + (detail.retryIn ?? 0);
    const tick = () => this.#write(connectionWords(detail, Math.ceil((until - performance.now()) / 1000)));
    tick();
    if (detail.state === "waiting") this.#ticking = setInterval(tick, 1000);
  }

  #write([said, shown]) {
    write(this.#said, said);
    write(this.#shown, shown);
  }
}

/** Errors of a join after which the user can choose another name. */
const OF_NAMES = new Set([ERROR.NAME_TAKEN, ERROR.NAME_NEEDED, ERROR.NAME_RESERVED]);

/** Joining the room: the page's position in the log, the connection's state, and a refused join. */
export class Entrance {
  /** Whether the server answers queries about the room now. */
  entered = false;
  #client;
  #room;
  #place;
  #view;
  #dialog; // asks for another name

  /**
   * @param {object} options
   * @param {{seq: number, epoch: string | null}} options.page the page's position; no epoch: the room did not exist yet
   */
  constructor({client, room, page: {seq, epoch}}) {
    this.#client = client;
    this.#room = room;
    this.#place = {since: seq, epoch};
    this.#dialog = elements("rename", "renameReason");
    const {connection, connectionSaid, connectionShown, connectionTry} = elements(
      ...["connection", "connectionSaid", "connectionShown", "connectionTry"],
    );
    this.#view = new ConnectionView({
      box: connection,
      said: connectionSaid,
      shown: connectionShown,
      button: connectionTry,
      onTry: () => this.enter(),
    });
    client.addEventListener("state", ({detail}) => this.#changed(detail));
    client.addEventListener("late", ({detail}) => this.#view.late(detail.late === true));
    client.addEventListener("welcome", () => (this.entered = true));
    client.addEventListener("error", ({detail}) => detail.command === "join" && this.#refused(detail));
  }

  enter() {
    this.#client.join(this.#room, this.#place);
    this.#client.connect();
  }

  /** The browser may have another user's cookie. */
  doubted() {
    this.#view.draw({state: "checking"});
  }

  /** The sign-in has ended for certain. */
  signedOut() {
    this.#view.draw({state: "signed out"});
  }

  #changed(detail) {
    this.entered &&= detail.state === "open";
    // The browser may only have another cookie: session-end.js checks.
    const doubtful = detail.state === "closed" && detail.code === CLOSE.NOT_SIGNED_IN;
    this.#view.draw(doubtful ? {state: "checking"} : detail);
  }

  #refused(error) {
    const reason = errorWords(error);
    this.#client.close(); // a connection without a room is useless
    this.#view.draw({state: "closed", reason});
    if (OF_NAMES.has(error.code)) this.#askForName(reason);
  }

  #askForName(reason) {
    const {rename, renameReason} = this.#dialog;
    renameReason.textContent = reason;
    if (!rename.open) rename.showModal();
  }
}
