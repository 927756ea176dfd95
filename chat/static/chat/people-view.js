import {make} from "./dom.js";
import {hueOf, whoIsHere} from "./presence.js";
import {HUES} from "./row-view.js";
import {words} from "./words.js";

/** Who is here: a list beside the messages, or, where there is no room for it, a sheet that a button opens. */
export class PeopleView {
  #panel;
  #list;
  #counts;
  #toggle;

  /** @param {{panel, list, counts: Iterable<HTMLElement>, toggle, close}} elements counts: show how many are here */
  constructor({panel, list, counts, toggle, close}) {
    this.#panel = panel;
    this.#list = list;
    this.#counts = [...counts];
    this.#toggle = toggle;
    toggle.addEventListener("click", () => this.#show(!this.#open));
    close.addEventListener("click", () => this.#show(false));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open) this.#show(false);
    });
    document.addEventListener("click", ({target}) => {
      if (this.#open && !panel.contains(target) && !toggle.contains(target)) this.#show(false, {refocus: false});
    });
  }

  /** @param {{users: string[], count: number}} userList */
  draw(userList, me) {
    const {names, hidden, count} = whoIsHere(userList, me);
    const rows = names.map((name) => person(name, name === me));
    if (hidden) rows.push(make("li", {className: "hidden-people"}, words.more(hidden)));
    this.#list.replaceChildren(...rows);
    for (const element of this.#counts) element.textContent = words.here(count);
  }

  get #open() {
    return this.#toggle.getAttribute("aria-expanded") === "true";
  }

  #show(open, {refocus = true} = {}) {
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#panel.classList.toggle("open", open);
    if (open) this.#panel.focus();
    else if (refocus) this.#toggle.focus();
  }
}

function person(name, isMe) {
  const dot = make("span", {className: "person-mark", ariaHidden: "true", dataset: {hue: hueOf(name, HUES)}});
  const row = make("li", {className: "person"}, dot, make("bdi", {}, name));
  if (isMe) row.append(" ", make("span", {className: "you"}, words.you));
  return row;
}
