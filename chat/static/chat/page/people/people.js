import {onFrame} from "../shell/dom.js";
import {PeopleView} from "./people-view.js";
import {TypingView} from "./typing-view.js";

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
   * @param {object} options.elements people (the panel), peopleList, peopleToggle, peopleClose, typing, counts
   * @param {() => string[]} options.actions what can be done with others
   * @param {(act: string, name: string) => void} options.act
   * @param {() => void} options.onChange the timeline has to be drawn
   */
  constructor({client, timeline, elements, actions, act, onChange}) {
    const {people, peopleList, peopleToggle, peopleClose, typing, counts} = elements;
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
