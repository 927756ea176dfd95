import {hueOf, HUES} from "../log/message-view.js";
import {elements, icon, ICONS, make, onFrame, sentence} from "../shell/dom.js";
import {isComposing} from "../shell/keyboard.js";
import {roomWords} from "../shell/room-words.js";
import {SidePanel} from "../shell/side-panel.js";
import {typingWords, words} from "../shell/words.js";

/* The users as they are listed: the reader first, the others by name. Pure. */

/**
 * @param {{users: string[], count: number, own: number}} userList the server's: at most 200 names, the true count, and
 *   the index of the reader (person.js)
 * @returns {{me: string | undefined, others: string[], hidden: number, count: number}} hidden: number of users beyond
 *   those
 */
export function whoIsHere({users, count, own}, compare = byName) {
  const others = users.filter((_, place) => place !== own).sort(compare);
  return {me: users[own], others, hidden: Math.max(0, count - users.length), count};
}

const byName = new Intl.Collator(undefined, {sensitivity: "base", numeric: true}).compare;

/** Milliseconds that "is typing" is shown after the last event. A typing client sends one every two seconds. */
const HOLDS = 5_000;

/** The users who are typing. Pure: time is passed in. */
export class TypingPeople {
  #until = new Map(); // name → clock time

  typed(name, now) {
    this.#until.delete(name); // to the end: it is the latest
    this.#until.set(name, now + HOLDS);
  }

  /** The user sent a message, or left. */
  stopped(name) {
    this.#until.delete(name);
  }

  clear() {
    this.#until.clear();
  }

  names(now) {
    for (const [name, until] of this.#until) if (until <= now) this.#until.delete(name);
    return [...this.#until.keys()];
  }

  /** Clock time at which the list next gets shorter; null if it is empty. */
  get nextChange() {
    return this.#until.size ? Math.min(...this.#until.values()) : null;
  }
}

/** The line that names the typing users. It empties itself. */
export class TypingView {
  #line;
  #people = new TypingPeople();
  #timer = null;

  /** @param {HTMLElement} line */
  constructor(line) {
    this.#line = line;
  }

  typed(name) {
    this.#people.typed(name, performance.now());
    this.#draw();
  }

  stopped(name) {
    this.#people.stopped(name);
    this.#draw();
  }

  #draw() {
    clearTimeout(this.#timer);
    const now = performance.now();
    this.#line.replaceChildren(...sentence(typingWords(this.#people.names(now))));
    const {nextChange} = this.#people;
    if (nextChange !== null) this.#timer = setTimeout(() => this.#draw(), nextChange - now);
  }
}

/** Key of the reader's own row: another user may have the same name. */
const ME = Symbol("me");

/**
 * The list of users: beside the messages, or, on narrow screens, in a panel that a button opens. If there are actions
 * for a user, their row has a button that unfolds them.
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
   * @param {() => string[]} [options.actions] actions for other users (room-access.js)
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

  /** Rows that stay are not redrawn, so that none is closed or loses the focus when a user joins. */
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

  /** The row with this key: the present one, or a new one. */
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
    event.preventDefault(); // Escape must not close the panel as well
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

const NOBODY = {users: [], count: 0, own: -1};

/** The users in the room: the list, joins and leaves, and typing. */
export class People {
  #timeline;
  #people;
  #typing;
  #list = NOBODY;
  #onChange;

  /**
   * @param {object} options
   * @param {() => string[]} options.actions actions for other users
   * @param {(act: string, name: string) => void} options.act
   * @param {() => void} options.onChange the timeline has to be drawn
   */
  constructor({client, timeline, actions, act, onChange}) {
    const {people, peopleList, peopleToggle, peopleClose, typing} = elements(
      ...["people", "peopleList", "peopleToggle", "peopleClose", "typing"],
    );
    const counts = document.querySelectorAll("[data-people-count]");
    this.#timeline = timeline;
    this.#onChange = onChange;
    this.#people = new PeopleView({
      ...{panel: people, list: peopleList, toggle: peopleToggle, close: peopleClose, counts},
      ...{actions, act},
    });
    this.#typing = new TypingView(typing);
    client.addEventListener("userList", ({detail}) => this.#listed(detail));
    client.addEventListener("typing", ({detail}) => this.#typed(detail));
    client.addEventListener("join", ({detail}) => this.#moved("joined", detail));
    client.addEventListener("leave", ({detail}) => this.#moved("left", detail));
  }

  /** Show nobody any more. */
  forget() {
    this.#listed(NOBODY);
  }

  /** A user sent a message: that ends their typing. */
  spoke(name) {
    this.#typing.stopped(name);
  }

  draw = onFrame(() => this.#people.draw(this.#list));

  #listed(userList) {
    this.#list = userList;
    this.draw();
  }

  #typed({username, own}) {
    if (!own) this.#typing.typed(username);
  }

  #moved(how, {username, own}) {
    if (how === "left") this.#typing.stopped(username);
    if (own) return;
    this.#timeline[how](username);
    this.#onChange();
  }
}
