import {ConnectionView} from "./connection-view.js";
import {CLOSE, ERROR} from "../../client/protocol.js";
import {errorWords} from "../shell/words.js";

/** Why a join is refused to somebody who can choose another name. */
const OF_NAMES = new Set([ERROR.NAME_TAKEN, ERROR.NAME_NEEDED, ERROR.NAME_RESERVED]);

/** The way into the room: where the page stands in its log, the connection's state, and what a refusal means. */
export class Entrance {
  /** Whether the server answers questions about the room now. */
  entered = false;
  #client;
  #room;
  #place;
  #view;
  #elements;

  /**
   * @param {object} options
   * @param {{seq: number, epoch: string | null}} options.page what the page shows; no epoch: there was no room yet
   * @param {object} options.elements connection, connectionSaid, connectionShown, connectionTry, rename (a dialog),
   *   renameReason
   */
  constructor({client, room, page: {seq, epoch}, elements}) {
    this.#client = client;
    this.#room = room;
    this.#place = {since: seq, epoch};
    this.#elements = elements;
    this.#view = new ConnectionView({
      box: elements.connection,
      said: elements.connectionSaid,
      shown: elements.connectionShown,
      button: elements.connectionTry,
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

  /** The browser may have another cookie. */
  doubted() {
    this.#view.draw({state: "checking"});
  }

  /** It is certain now. */
  signedOut() {
    this.#view.draw({state: "signed out"});
  }

  #changed(detail) {
    this.entered &&= detail.state === "open";
    // Perhaps the browser has another cookie only: session-end.js finds out.
    const doubtful = detail.state === "closed" && detail.code === CLOSE.NOT_SIGNED_IN;
    this.#view.draw(doubtful ? {state: "checking"} : detail);
  }

  #refused(error) {
    const reason = errorWords(error);
    this.#client.close(); // a socket without a room is of no use to anybody
    this.#view.draw({state: "closed", reason});
    if (OF_NAMES.has(error.code)) this.#askForName(reason);
  }

  #askForName(reason) {
    const {rename, renameReason} = this.#elements;
    renameReason.textContent = reason;
    if (!rename.open) rename.showModal();
  }
}
