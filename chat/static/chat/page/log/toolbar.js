import {icon, ICONS, make} from "../shell/dom.js";
import {isComposing} from "../shell/keyboard.js";
import {words} from "../shell/words.js";
import {choices, has} from "./optimistic-changes.js";

/* The faces of the toolbar: each has a label, buttons and perhaps a question. */

/**
 * Each takes {message, lasting, moderates} and returns {label, nodes}. A button's data-act is its action, or the name of
 * the face that it turns to.
 */
export const FACES = {
  actions: ({message, lasting, moderates}) => ({
    label: words.actionsFor(message.username),
    nodes: [
      lasting ? drawn("react", "emoji") : null,
      drawn("reply", "reply"),
      lasting && message.own ? drawn("edit", "edit") : null,
      (lasting && message.own) || moderates ? drawn("delete", "question") : null,
      lasting && !message.own ? drawn("report", "report") : null,
    ],
  }),

  emoji: ({message}) => ({
    label: words.react,
    nodes: [
      ...choices(message.reactions).map((emoji) => pick(emoji, has(message.reactions, emoji))),
      drawn("back", "actions"),
    ],
  }),

  question: () => ({
    label: words.sureToDelete,
    nodes: [
      make("span", {className: "question"}, words.sureToDelete),
      said("keep", "actions"),
      said("reallyDelete", "remove", "danger"),
    ],
  }),
};

function drawn(name, act) {
  return make(
    "button",
    {type: "button", title: words[name], ariaLabel: words[name], dataset: {act, focus: `bar ${act}`}},
    icon(ICONS[name], 20),
  );
}

function said(name, act, className = "") {
  return make("button", {type: "button", className, dataset: {act, focus: `bar ${act}`}}, words[name]);
}

function pick(emoji, mine) {
  const label = mine ? words.takeBack(emoji) : words.reactWith(emoji);
  const dataset = {act: "react", emoji, focus: `bar ${emoji}`};
  const properties = {type: "button", className: "emoji", ariaLabel: label, ariaPressed: String(mine), dataset};
  return make("button", properties, emoji);
}

const MESSAGE = "li[data-id]";

/**
 * The actions for a message: one toolbar for all rows. It stands in the row under the mouse, in the focused row, or in
 * the row whose button was pressed. It has three faces: the actions, the emoji, and the question before a deletion.
 */
export class Toolbar {
  #list;
  #rowOf;
  #context;
  #on;
  #face = "actions";
  #pinned = false; // it was opened by a button, and does not follow the mouse
  #drawn = null; // the row whose actions it shows
  #bar = make("div", {className: "toolbar", role: "toolbar", ariaLive: "off", dataset: {guest: "toolbar"}});

  /**
   * @param {object} options
   * @param {HTMLElement} options.list the list of the rows
   * @param {(element: Element) => object} options.rowOf
   * @param {() => {lasting: boolean, moderates: boolean}} options.context lasting: whether
   *   messages can be changed; moderates: also those of others
   * @param {object} options.on {reply(message), edit(message), remove(message), report(message), react(message, emoji,
   *   on)}
   */
  constructor({list, rowOf, context, on}) {
    this.#list = list;
    this.#rowOf = rowOf;
    this.#context = context;
    this.#on = on;
    this.#watch();
  }

  /** Show it in a row, with the focus; if it was shown so already, hide it. */
  toggle(node) {
    const again = this.#pinned && this.#row === node;
    this.hide();
    if (again) return;
    this.#show(node);
    this.#pinned = true;
    this.#focus();
  }

  hide() {
    // The row gets the focus, unless that moved elsewhere by itself.
    if (this.#bar.contains(document.activeElement)) this.#row.focus({preventScroll: true});
    this.#row?.classList.remove("has-guest");
    this.#bar.remove();
    this.#face = "actions";
    this.#pinned = false;
  }

  /** Rows were drawn: the message may have changed, or be gone. */
  refresh() {
    if (!this.#row) return;
    if (!this.#message) this.hide();
    // Not at every drawing: a button that is replaced while it is pressed is not clicked.
    else if (this.#rowOf(this.#row) !== this.#drawn) this.#draw();
  }

  get #row() {
    return this.#bar.parentElement;
  }

  /** The message of its row; null if no action is possible. */
  get #message() {
    return this.#offered(this.#row);
  }

  #offered(node) {
    const row = this.#rowOf(node);
    return row?.kind === "message" && !row.message.deleted ? row.message : null;
  }

  /** It is in use, so it does not follow the mouse. */
  get #engaged() {
    const active = document.activeElement;
    if (this.#pinned || this.#face !== "actions") return true;
    return this.#row?.contains(active) && active.matches(":focus-visible");
  }

  // --- Its row ---

  #watch() {
    // A finger leaves too, before its tap becomes a click: only a mouse hovers.
    const hovers = ({pointerType}) => pointerType === "mouse" && !this.#engaged;
    this.#list.addEventListener("pointerover", (event) => hovers(event) && this.#visit(event.target));
    this.#list.addEventListener("pointerleave", (event) => hovers(event) && this.hide());
    this.#list.addEventListener("focusin", ({target}) => target.matches(":focus-visible") && this.#visit(target));
    for (const sign of ["pointerdown", "focusin"]) {
      document.addEventListener(sign, ({target}) => this.#leave(target));
    }
    this.#bar.addEventListener("click", (event) => {
      event.stopPropagation(); // these buttons are not the row's own
      this.#pressed(event.target.closest("button"));
    });
    this.#bar.addEventListener("keydown", (event) => this.#key(event));
    this.#bar.addEventListener("focusin", ({target}) => this.#stop(target));
  }

  #visit(target) {
    const node = target.closest(MESSAGE);
    if (node && node !== this.#row) this.#show(node);
  }

  /** The mouse or the focus is elsewhere. */
  #leave(target) {
    if (this.#row && !this.#row.contains(target) && (this.#engaged || !this.#list.contains(target))) this.hide();
  }

  #show(node) {
    this.hide();
    if (!this.#offered(node)) return;
    node.append(this.#bar);
    node.classList.add("has-guest");
    this.#draw();
  }

  // --- Its face ---

  #turn(face, focus) {
    this.#face = face;
    this.#draw();
    this.#focus(focus);
  }

  #turnBack() {
    this.#turn("actions", `bar ${this.#face}`);
  }

  #draw() {
    this.#drawn = this.#rowOf(this.#row);
    const {message} = this.#drawn;
    const {label, nodes} = FACES[this.#face]({message, ...this.#context()});
    const place = this.#bar.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    this.#bar.ariaLabel = label;
    this.#bar.dataset.face = this.#face;
    this.#bar.replaceChildren(...nodes.filter((node) => node !== null));
    this.#stop(this.#buttons[0]);
    if (place) this.#focus(place);
  }

  /** One button is in the tab order; the arrow keys reach the others. */
  #stop(at) {
    for (const button of this.#buttons) button.tabIndex = button === at ? 0 : -1;
  }

  #focus(place = "") {
    const button = this.#bar.querySelector(`[data-focus="${CSS.escape(place)}"]`) ?? this.#buttons[0];
    button?.focus({preventScroll: true});
  }

  get #buttons() {
    return [...this.#bar.querySelectorAll("button")];
  }

  // --- Its buttons ---

  #pressed(button) {
    const {act, emoji} = button?.dataset ?? {};
    if (!act) return;
    if (act === "actions") this.#turnBack();
    else if (act in FACES) this.#turn(act);
    else if (act === "react") this.#react(emoji, button.matches(":focus-visible"));
    else this.#choose(act);
  }

  #react(emoji, byKeyboard) {
    const message = this.#message;
    const on = !has(message.reactions, emoji);
    if (byKeyboard) this.#turn("actions", "bar emoji");
    else this.hide();
    this.#on.react(message, emoji, on);
  }

  #choose(act) {
    const message = this.#message;
    this.hide();
    this.#on[act](message);
  }

  #key(event) {
    if (isComposing(event)) return;
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (step) this.#step(document.documentElement.dir === "rtl" ? -step : step);
    else if (event.key === "Escape" && this.#face !== "actions") this.#turnBack();
    else return;
    event.preventDefault();
  }

  #step(by) {
    const all = this.#buttons;
    all.at((all.indexOf(document.activeElement) + by) % all.length).focus();
  }
}
