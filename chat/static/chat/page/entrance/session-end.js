import {CLOSE, ERROR} from "../../client/protocol.js";
import {SignInCheck} from "./sign-in.js";
import {errorWords} from "../shell/words.js";

/** Why a join is refused to somebody who is told so in the place of the field. */
const OUT = new Set([ERROR.BANNED, ERROR.NO_ROOM, ERROR.SIGN_IN]);

/** The ways out of the room that the reader did not choose: put out, not let in, signed out. */
export class SessionEnd {
  #client;
  #room;
  #account;
  #entrance;
  #moderationTools;
  #left;
  #conceal;
  #forget;
  #signIn;

  /**
   * @param {object} options
   * @param {object} options.config of the page
   * @param {() => void} options.left the reader is out
   * @param {() => void} options.conceal take what was said out of sight
   * @param {() => void} options.forget end, and keep nothing that the reader wrote
   */
  constructor({client, config, entrance, moderationTools, left, conceal, forget}) {
    const {room, you, account, links} = config;
    this.#client = client;
    this.#room = room;
    this.#account = account;
    this.#entrance = entrance;
    this.#moderationTools = moderationTools;
    this.#left = left;
    this.#conceal = conceal;
    this.#forget = forget;
    this.#signIn = new SignInCheck({
      url: links.whoami,
      you,
      on: {same: () => entrance.enter(), other: (who) => this.#signedOut(who)},
    });
    this.#listen();
  }

  /** The browser seems to have somebody else: the server knows. Until then nothing is sent or shown. */
  doubt() {
    this.#client.close();
    this.#entrance.doubted();
    this.#signIn.check();
  }

  #listen() {
    this.#client.addEventListener("person", ({detail}) => this.#signedOut(detail));
    this.#client.addEventListener("welcome", () => this.#signIn.settled());
    this.#client.addEventListener("removed", ({detail}) => detail.room === this.#room && this.#putOut(detail));
    this.#client.addEventListener("error", ({detail}) => {
      if (detail.command !== "join") return;
      if (OUT.has(detail.code)) this.#putOut(detail);
      if (detail.code === ERROR.NAME_NEEDED) this.#forget(); // the session is gone that had one
    });
    this.#client.addEventListener("state", ({detail: {state, code}}) => {
      if (state === "closed" && code === CLOSE.NOT_SIGNED_IN) this.#signIn.check();
    });
  }

  #putOut(frame) {
    this.#close(frame.code === ERROR.NO_ROOM);
    this.#moderationTools.out.removed({...frame, message: errorWords(frame)}, () => this.#entrance.enter());
  }

  #close(secret = false) {
    this.#moderationTools.close();
    this.#left();
    if (secret || this.#moderationTools.secret) this.#conceal();
  }

  #signedOut({username}) {
    this.#close();
    this.#forget();
    this.#entrance.signedOut();
    const {out} = this.#moderationTools;
    if (username !== null) out.somebodyElse(username);
    else if (this.#account) out.signedOut();
    else out.unnamed();
  }
}
