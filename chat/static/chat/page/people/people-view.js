import {icon, make} from "../shell/dom.js";
import {ICONS} from "../shell/icons.js";
import {isComposing} from "../shell/keyboard.js";
import {HUES} from "../log/message-view.js";
import {hueOf, whoIsHere} from "./presence.js";
import {roomWords} from "../shell/room-words.js";
import {SidePanel} from "../shell/side-panel.js";
import {words} from "../shell/words.js";

/** The key of the reader's own row: somebody else may have their name. */
const ME = Symbol("me");

/**
 * Who is here: a list beside the messages, or, where there is no room for it, a sheet that a button opens. Where
 * something can be done with a person, their row has a button that unfolds it.
 */
export class PeopleView {
  #list;
  #counts;
  #actions;
  #act;
  #rows = new Map(); // name, ME for the reader → {node, version}
  #unfolded = null; // a name

  /**
   * @param {object} options
   * @param {Iterable<HTMLElement>} options.counts show how many are here
   * @param {() => string[]} [options.actions] what can be done with others (room-access.js)
   * @param {(act: string, name: string) => void} [options.act]
   */
  constructor({panel, list, counts, toggle, close, actions = () => [], act = () => {}}) {
    this.#list = list;
    this.#counts = [...counts];
    this.#actions = actions;
    this.#act = act;
    new SidePanel({panel, toggle, close});
    list.addEventListener("click", ({target}) => this.#pressed(target.closest("button")));
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {{users: string[], count: number, own: number}} userList */
  draw(userList) {
    const {me, others, hidden, count} = whoIsHere(userList);
    const rows = others.map((name) => this.#row(name));
    if (me !== undefined) rows.unshift(this.#own(me));
    if (hidden) rows.push(make("li", {className: "hidden-people"}, words.more(hidden)));
    this.#place(rows);
    for (const element of this.#counts) element.textContent = words.here(count);
  }

  /** Rows that stay are not drawn anew, so that one is not closed, nor loses the focus, when somebody comes. */
  #place(rows) {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    this.#list.replaceChildren(...rows);
    const shown = new Set(rows);
    for (const [name, {node}] of this.#rows) if (!shown.has(node)) this.#rows.delete(name);
    if (focused?.isConnected) focused.focus({preventScroll: true});
  }

  #row(name) {
    const acts = this.#actions();
    const unfolded = acts.length > 0 && this.#unfolded === name;
    return this.#drawn(name, {name, acts, unfolded});
  }

  #own(name) {
    return this.#drawn(ME, {name, isMe: true});
  }

  /** The row under this key: the one that stands, or a new one. */
  #drawn(key, shown) {
    const version = JSON.stringify(shown);
    const known = this.#rows.get(key);
    if (known?.version === version) return known.node;
    const node = person(shown);
    this.#rows.set(key, {node, version});
    return node;
  }

  #pressed(button) {
    const name = button?.closest("li").dataset.name;
    if (name === undefined) return;
    const {act} = button.dataset;
    this.#unfold(this.#unfolded === name ? null : name);
    this.#buttonOf(name).focus({preventScroll: true});
    if (act) this.#act(act, name);
  }

  #unfold(name) {
    const changed = [this.#unfolded, name].filter((one) => one !== null);
    this.#unfolded = name;
    for (const one of changed) {
      const before = this.#rows.get(one)?.node;
      if (before) before.replaceWith(this.#row(one));
    }
  }

  #key(event) {
    const {name} = event.target.closest("li")?.dataset ?? {};
    if (isComposing(event) || name === undefined || this.#unfolded !== name) return;
    if (event.key === "Escape") {
      this.#unfold(null);
      this.#buttonOf(name).focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.#step(name, event.key === "ArrowDown" ? 1 : -1);
    } else return;
    event.preventDefault(); // Escape is not meant for the sheet as well
  }

  #step(name, by) {
    const all = [...this.#rows.get(name).node.querySelectorAll("button")];
    all.at((all.indexOf(document.activeElement) + by) % all.length).focus();
  }

  #buttonOf(name) {
    return this.#rows.get(name).node.querySelector(".person-more");
  }
}

function person({name, isMe = false, acts = [], unfolded = false}) {
  const dot = make("span", {className: "person-mark", ariaHidden: "true", dataset: {hue: hueOf(name, HUES)}});
  const line = make("div", {className: "person-line"}, dot, make("bdi", {title: name}, name));
  if (isMe) line.append(" ", make("span", {className: "you"}, words.you));
  if (acts.length) line.append(more(name, unfolded));
  return make("li", {className: "person", dataset: {name}}, line, unfolded ? menu(name, acts) : null);
}

function more(name, unfolded) {
  return make(
    "button",
    {type: "button", className: "person-more", ariaExpanded: String(unfolded), title: roomWords.actionsFor(name)},
    icon(ICONS.more, 20),
    make("span", {className: "visually-hidden"}, roomWords.actionsFor(name)),
  );
}

function menu(name, acts) {
  const buttons = acts.map((act) =>
    make("button", {type: "button", className: act === "ban" ? "dangerous" : "", dataset: {act}}, roomWords[act]),
  );
  return make("div", {className: "person-menu", role: "group", ariaLabel: roomWords.actionsFor(name)}, ...buttons);
}
