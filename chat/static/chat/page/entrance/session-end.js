import {Backoff, systemClock} from "../../client/backoff.js";
import {CLOSE, ERROR} from "../../client/protocol.js";
import {make, write} from "../shell/dom.js";
import {roomWords} from "../shell/room-words.js";
import {errorWords} from "../shell/words.js";

/** Milliseconds before the check: the browser may just be getting a new cookie. */
const PATIENCE = 1_500;
/** Milliseconds between further checks: after a failed one, or if a server closes again and again. */
const AGAIN = {base: 2_000, cap: 30_000};

/** Checks whether the reader is still signed in, when the server says that their sign-in has ended. */
export class SignInCheck {
  #url;
  #you;
  #on;
  #fetch;
  #clock;
  #backoff;
  #timer = null;
  #asked = false; // since the last join

  /**
   * @param {object} options
   * @param {string} options.url answers {username, account, you}
   * @param {string} options.you the reader's key
   * @param {object} options.on {same(), other({username, account, you}): username null: no user}
   */
  constructor({url, you, on, fetch = globalThis.fetch.bind(globalThis), clock = systemClock, random = Math.random}) {
    this.#url = url;
    this.#you = you;
    this.#on = on;
    this.#fetch = fetch;
    this.#clock = clock;
    this.#backoff = new Backoff({random, ...AGAIN});
  }

  /** The server closed the socket with 4401, or the browser has another user now. Both may have the same cause. */
  check() {
    if (this.#timer !== null) return; // a check is scheduled
    const delay = PATIENCE + (this.#asked ? this.#backoff.next() : 0);
    this.#asked = true;
    this.#timer = this.#clock.setTimeout(() => this.#ask(), delay);
  }

  /** The reader has joined. */
  settled() {
    this.#asked = false;
    this.#backoff.reset();
  }

  async #ask() {
    this.#timer = null;
    const who = await this.#whoIsIt();
    if (who === null) this.check();
    else if (who.you === this.#you) this.#on.same();
    else this.#on.other(who);
  }

  /** The current user, or null if unknown. */
  async #whoIsIt() {
    try {
      const response = await this.#fetch(this.#url, {cache: "no-store", credentials: "same-origin"});
      const who = response.ok ? await response.json() : null;
      return who?.you === undefined ? null : who; // a server of the previous version sends no `you`
    } catch {
      return null;
    }
  }
}

/** The notice in place of the composer when the reader was removed: the reason and the next step. */
export class RemovedView {
  #page;
  #box;
  #title;
  #hint;
  #actions;
  #links;
  #ticking = null;

  /**
   * @param {object} options
   * @param {HTMLElement} options.page data-out: the reader was removed; data-concealed: the messages are hidden
   * @param {{index: string, signIn: string}} options.links
   */
  constructor({page, out, outTitle, outHint, outActions, links}) {
    this.#page = page;
    this.#box = out;
    this.#title = outTitle;
    this.#hint = outHint;
    this.#actions = outActions;
    this.#links = links;
  }

  get shown() {
    return !this.#box.hidden;
  }

  /** @param {{code: string, message: string, retryAfter?: number}} frame; a button calls `comeBack` */
  removed({code, message, retryAfter}, comeBack) {
    const forNow = retryAfter !== undefined;
    const title = code === "banned" && forNow ? roomWords.outForNow : (roomWords.out[code] ?? message);
    if (code === "sign_in") this.#show(title, "", this.#link(roomWords.signIn, this.#links.signIn));
    else if (code === "no_room" || (code === "banned" && !forNow)) this.#show(title, "", this.#elsewhere());
    else this.#offer(title, retryAfter ?? 0, comeBack);
  }

  signedOut() {
    const {signedOut, signedOutHint, signIn} = roomWords;
    this.#show(signedOut, signedOutHint, this.#link(signIn, this.#links.signIn));
  }

  /** The guest's session has ended. */
  unnamed() {
    this.#show(roomWords.unnamed, "", this.#link(roomWords.chooseName, this.#links.index));
  }

  somebodyElse(name) {
    const reload = make("button", {type: "button", className: "primary"}, roomWords.reload);
    reload.addEventListener("click", () => location.reload());
    this.#show(roomWords.somebodyElse(name), roomWords.somebodyElseHint, reload);
  }

  /** @returns {boolean} whether it had the focus */
  hide() {
    clearInterval(this.#ticking);
    const focused = this.#box.contains(document.activeElement);
    this.#box.hidden = true;
    delete this.#page.dataset.out;
    delete this.#page.dataset.concealed;
    return focused;
  }

  /** A button that is enabled when the time has passed. */
  #offer(title, retryAfter, comeBack) {
    const button = make("button", {type: "button", className: "primary"}, roomWords.comeBack);
    button.addEventListener("click", comeBack);
    this.#show(title, "", button);
    const at = performance.now() + retryAfter;
    const tick = () => {
      const seconds = Math.ceil((at - performance.now()) / 1_000);
      button.disabled = seconds > 0;
      write(this.#hint, seconds > 0 ? roomWords.comeBackIn(seconds) : "");
      if (seconds <= 0) clearInterval(this.#ticking);
    };
    this.#ticking = setInterval(tick, 1_000);
    tick();
  }

  #elsewhere() {
    return this.#link(roomWords.otherRoom, this.#links.index);
  }

  #link(words, href) {
    return make("a", {href, className: "primary"}, words);
  }

  #show(title, hint, ...actions) {
    clearInterval(this.#ticking);
    this.#page.dataset.out = "";
    this.#box.hidden = false;
    write(this.#title, title);
    write(this.#hint, hint);
    this.#actions.replaceChildren(...actions);
    // The focused element may be hidden now.
    if (!document.activeElement?.closest(".room-head")) this.#box.focus({preventScroll: true});
  }
}

/** Errors of a join that are shown in place of the composer. */
const OUT = new Set([ERROR.BANNED, ERROR.NO_ROOM, ERROR.SIGN_IN]);

/** The ends of a session that the reader did not choose: removed, refused, signed out. */
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
   * @param {object} options.config the page's configuration
   * @param {() => void} options.left the reader is no longer in the room
   * @param {() => void} options.conceal hide the messages
   * @param {() => void} options.forget end, and drop the reader's pending messages and drafts
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

  /** The browser seems to have another user: ask the server. Nothing is sent or shown until it answers. */
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
      if (detail.code === ERROR.NAME_NEEDED) this.#forget(); // the session with the name has ended
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
