import {hueOf, HUES} from "../log/message-view.js";
import {elements, icon, ICONS, make, onFrame, sentence} from "../shell/dom.js";
import {isComposing} from "../shell/keyboard.js";
import {roomWords} from "../shell/room-words.js";
import {SidePanel} from "../shell/side-panel.js";
import {typingWords, words} from "../shell/words.js";

/* The list of who is here, as it is shown: the reader first, the others by name. Pure. */

/**
 * @param {{users: string[], count: number, own: number}} userList the server's: at most 200 names, the true count; and
 *   at which place the reader is, by the client (person.js)
 * @returns {{me: string | undefined, others: string[], hidden: number, count: number}} hidden: how many are here beyond
 *   those
 */
export function whoIsHere({users, count, own}, compare = byName) {
  const others = users.filter((_, place) => place !== own).sort(compare);
  return {me: users[own], others, hidden: Math.max(0, count - users.length), count};
}

const byName = new Intl.Collator(undefined, {sensitivity: "base", numeric: true}).compare;

/** Milliseconds that "is typing" holds after the last sign. A client that types sends one every two seconds. */
const HOLDS = 5_000;

/** Who is typing, by the clock that is passed in. Pure. */
export class TypingPeople {
  #until = new Map(); // name → clock time

  typed(name, now) {
    this.#until.delete(name); // to the end of the list: it is the latest
    this.#until.set(name, now + HOLDS);
  }

  /** The name sent its message, or went. */
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

  /** The clock time at which the list gets shorter by itself; null when it is empty. */
  get nextChange() {
    return this.#until.size ? Math.min(...this.#until.values()) : null;
  }
}

/** The line that says who is typing. It empties itself. */
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

const NOBODY = {users: [], count: 0, own: -1};

/** Who else is in the room: the list of them, who comes and goes, who is typing. */
export class People {
  #timeline;
  #people;
  #typing;
  #list = NOBODY;
  #onChange;

  /**
   * @param {object} options
   * @param {() => string[]} options.actions what can be done with others
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

  /** Nobody is to be seen any more. */
  forget() {
    this.#listed(NOBODY);
  }

  /** Somebody has said something: that ends their typing. */
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
