import {ConnectionView} from "./connection-view.js";
import {ERROR} from "./protocol.js";
import {errorWords} from "./words.js";

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
    client.addEventListener("welcome", () => (this.entered = true));
    client.addEventListener("error", ({detail}) => detail.command === "join" && this.#refused(detail));
  }

  enter() {
    this.#client.join(this.#room, this.#place);
    this.#client.connect();
  }

  #changed(detail) {
    this.entered &&= detail.state === "open";
    this.#view.draw(detail);
  }

  #refused(error) {
    const reason = errorWords(error);
    this.#client.close(); // a socket without a room is of no use to anybody
    this.#view.draw({state: "closed", reason});
    if (error.code === ERROR.NAME_TAKEN || error.code === ERROR.NAME_NEEDED) this.#askForName(reason);
  }

  #askForName(reason) {
    const {rename, renameReason} = this.#elements;
    renameReason.textContent = reason;
    if (!rename.open) rename.showModal();
  }
}
