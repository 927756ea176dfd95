import {CLOSE, ERROR} from "./protocol.js";
import {SignIn} from "./sign-in.js";
import {errorWords} from "./words.js";

/** Why a join is refused to somebody who is told so in the place of the field. */
const OUT = new Set([ERROR.BANNED, ERROR.NO_ROOM, ERROR.SIGN_IN]);

/** The ways out of the room that the reader did not choose: put out, not let in, signed out. */
export class Exits {
  #client;
  #room;
  #account;
  #entrance;
  #governing;
  #left;
  #conceal;
  #signIn;

  /**
   * @param {object} options
   * @param {object} options.config of the page
   * @param {() => void} options.left the reader is out
   * @param {() => void} options.conceal take what was said out of sight
   */
  constructor({client, config, entrance, governing, left, conceal}) {
    const {room, you, account, links} = config;
    this.#client = client;
    this.#room = room;
    this.#account = account;
    this.#entrance = entrance;
    this.#governing = governing;
    this.#left = left;
    this.#conceal = conceal;
    this.#signIn = new SignIn({
      url: links.whoami,
      you,
      on: {same: () => client.connect(), other: (who) => this.#signedOut(who)},
    });
    this.#listen();
  }

  #listen() {
    this.#client.addEventListener("welcome", () => this.#signIn.settled());
    this.#client.addEventListener("removed", ({detail}) => detail.room === this.#room && this.#putOut(detail));
    this.#client.addEventListener("error", ({detail}) => {
      if (detail.command === "join" && OUT.has(detail.code)) this.#putOut(detail);
    });
    this.#client.addEventListener("state", ({detail: {state, code}}) => {
      if (state === "closed" && code === CLOSE.NOT_SIGNED_IN) this.#signIn.check();
    });
  }

  #putOut(frame) {
    this.#close(frame.code === ERROR.NO_ROOM);
    this.#governing.out.removed({...frame, message: errorWords(frame)}, () => this.#entrance.enter());
  }

  #close(secret = false) {
    this.#governing.close();
    this.#left();
    if (secret || this.#governing.secret) this.#conceal();
  }

  #signedOut({username}) {
    this.#close();
    this.#entrance.signedOut();
    const {out} = this.#governing;
    if (username !== null) out.somebodyElse(username);
    else if (this.#account) out.signedOut();
    else out.unnamed();
  }
}
