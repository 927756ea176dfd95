import {make} from "./dom.js";
import {HUES} from "./message-view.js";
import {hueOf, whoIsHere} from "./presence.js";
import {Sheet} from "./sheet.js";
import {words} from "./words.js";

/** Who is here: a list beside the messages, or, where there is no room for it, a sheet that a button opens. */
export class PeopleView {
  #list;
  #counts;

  /** @param {{panel, list, counts: Iterable<HTMLElement>, toggle, close}} elements counts: show how many are here */
  constructor({panel, list, counts, toggle, close}) {
    this.#list = list;
    this.#counts = [...counts];
    new Sheet({panel, toggle, close});
  }

  /** @param {{users: string[], count: number}} userList */
  draw(userList, me) {
    const {names, hidden, count} = whoIsHere(userList, me);
    const rows = names.map((name) => person(name, name === me));
    if (hidden) rows.push(make("li", {className: "hidden-people"}, words.more(hidden)));
    this.#list.replaceChildren(...rows);
    for (const element of this.#counts) element.textContent = words.here(count);
  }
}

function person(name, isMe) {
  const dot = make("span", {className: "person-mark", ariaHidden: "true", dataset: {hue: hueOf(name, HUES)}});
  const row = make("li", {className: "person"}, dot, make("bdi", {}, name));
  if (isMe) row.append(" ", make("span", {className: "you"}, words.you));
  return row;
}
