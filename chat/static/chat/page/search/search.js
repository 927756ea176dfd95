import {hueOf, HUES} from "../log/message-view.js";
import {elements, make, write} from "../shell/dom.js";
import {isComposing} from "../shell/keyboard.js";
import {SidePanel} from "../shell/side-panel.js";
import {errorWords, shortTime, words} from "../shell/words.js";
import {excerpt} from "./highlight.js";

/** Results of one page. */
const PAGE = 20;
/** Characters of a query, as the server has it. */
const LONGEST = 200;

/** A search through the room: the words, what was found so far, and whether there is more. Pure but for the client. */
export class Search {
  query = "";
  more = false;
  indexing = false; // the server's index does not have all messages yet
  loading = false;
  error = null; // a ChatError, of the last request
  #client;
  #room;
  #messages;
  #onChange;
  #ids = []; // of the messages found, newest first
  #place = {}; // where the next page begins
  #fresh = true; // the next page takes the place of what is there
  #turn = 0; // an answer to an earlier question is not wanted any more

  /** @param {{client, room: string, messages, onChange: () => void}} options */
  constructor({client, room, messages, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#messages = messages;
    this.#onChange = onChange;
  }

  /** The messages found, newest first. */
  get results() {
    return this.#ids.map((id) => this.#messages.get(id));
  }

  /** Whether a question was asked and all of its answer so far is here. */
  get answered() {
    return this.query !== "" && !this.loading && this.error === null;
  }

  /** Search for other words; none clears what was found. What was found before stays until the answer is here. */
  async ask(query) {
    const words = [...query.trim()].slice(0, LONGEST).join("");
    if (words === this.query && this.error === null) return;
    this.#start(words);
    if (words) await this.#load();
    else this.#forget();
  }

  /** The next page of what was found. */
  async next() {
    if (this.more && !this.loading) await this.#load();
  }

  /** Ask again what had no answer, as when the connection is back. */
  async again() {
    if (this.error !== null && !this.loading) await this.#load();
  }

  /** A change was heard: what was found may be of another text now, or gone. */
  heard(frame) {
    if (!this.#ids.includes(frame.id)) return;
    this.#show(this.results.filter(({deleted}) => !deleted));
    this.#onChange();
  }

  /** The log is of another life: what was found may be something else now. */
  reset() {
    const {query} = this;
    this.#start("");
    this.#forget();
    this.ask(query);
  }

  #start(query) {
    this.#turn += 1;
    this.#place = {};
    this.#fresh = true;
    Object.assign(this, {query, more: false, indexing: false, loading: false, error: null});
  }

  #forget() {
    this.#show([]);
    this.#onChange();
  }

  async #load() {
    const turn = this.#turn;
    Object.assign(this, {loading: true, error: null});
    this.#onChange();
    const page = await this.#client
      .search(this.#room, this.query, {...this.#place, limit: PAGE})
      .catch((error) => ({error}));
    if (turn !== this.#turn) return;
    const {messages = [], more = this.more, error = null, indexing = false} = page;
    const results = this.#fresh ? messages : [...this.results, ...messages];
    if (messages.length) this.#place = {before: messages.at(-1).id};
    if (error === null) this.#fresh = false;
    this.#show(results);
    Object.assign(this, {more, error, indexing, loading: false});
    this.#onChange();
  }

  #show(results) {
    for (const message of results) this.#messages.hold(message);
    for (const id of this.#ids) this.#messages.release(id);
    this.#ids = results.map(({id}) => id);
  }
}

/** Milliseconds without a key until what was typed is searched for, and the fewest characters that are. */
const PAUSE = 350;
const SHORTEST = 2;
/** Text in ASCII. In other scripts, and of pictures, one character is enough to search for. */
const PLAIN = /^[\0-\x7f]*$/;

/** The search in the room: a field, and what was found as a list from which one goes to the message. */
export class SearchPanel {
  #model;
  #elements;
  #sheet;
  #onChoose;
  #typed = null;

  /**
   * @param {object} options
   * @param {Search} options.model
   * @param {(id: number) => void} options.onChoose
   */
  constructor({model, onChoose}) {
    this.#elements = elements(
      ...["search", "searchToggle", "searchClose", "searchForm"],
      ...["searchText", "searchStatus", "searchResults", "searchMore"],
    );
    const {search, searchToggle, searchClose, searchForm, searchText, searchResults, searchMore} = this.#elements;
    this.#model = model;
    this.#onChoose = onChoose;
    const modest = false; // who goes to what was found goes on to the next
    this.#sheet = new SidePanel({panel: search, toggle: searchToggle, close: searchClose, focus: searchText, modest});
    searchForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    searchText.addEventListener("input", () => this.#wait());
    searchResults.addEventListener("click", ({target}) => this.#chosen(target.closest("button")));
    search.addEventListener("keydown", (event) => this.#key(event));
    searchMore.addEventListener("click", () => model.next());
  }

  open() {
    this.#sheet.show(true);
    this.#elements.searchText.select();
  }

  /** Out of the way, where it lies over the messages. */
  stepAside() {
    const over = getComputedStyle(this.#elements.search).position === "fixed";
    if (over && this.#sheet.open) this.#sheet.show(false, {refocus: false});
  }

  draw() {
    const {results, query, more} = this.#model;
    const {searchResults: list, searchStatus: status} = this.#elements;
    const place = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    list.replaceChildren(...results.map((message) => result(message, query)));
    if (place) list.querySelector(`[data-id="${place}"]`)?.focus();
    write(status, this.#status());
    this.#offerMore(more && results.length > 0);
  }

  #offerMore(more) {
    const {searchMore, searchResults} = this.#elements;
    if (!more && document.activeElement === searchMore) searchResults.lastElementChild?.firstElementChild.focus();
    searchMore.hidden = !more;
  }

  #status() {
    const {error, loading, answered, results, more, indexing} = this.#model;
    if (error) return error.code === "disconnected" ? words.noConnection : errorWords(error);
    if (loading) return words.searching;
    if (!answered) return "";
    const found = results.length ? words.found(results.length, more) : words.foundNothing;
    if (!indexing) return found;
    return `${results.length ? `${found}.` : found} ${words.stillIndexing}`;
  }

  #wait() {
    clearTimeout(this.#typed);
    const typed = this.#elements.searchText.value.trim();
    if (typed === "" || typed.length >= SHORTEST || !PLAIN.test(typed)) this.#typed = setTimeout(() => this.#ask(), PAUSE);
  }

  #ask() {
    clearTimeout(this.#typed);
    this.#model.ask(this.#elements.searchText.value);
  }

  #chosen(button) {
    if (button) this.#onChoose(Number(button.dataset.id));
  }

  /** Down from the field to what was found, up and down in it. */
  #key(event) {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step || isComposing(event)) return;
    const stops = [this.#elements.searchText, ...this.#elements.searchResults.querySelectorAll("button")];
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (!stops.includes(document.activeElement)) return;
    event.preventDefault();
    next?.focus();
  }
}

function result(message, query) {
  const {id, username, timestamp, content} = message;
  const parts = excerpt(content, query).map(({text, found}) => (found ? make("mark", {}, text) : text));
  const time = make("time", {dateTime: new Date(timestamp).toISOString()}, shortTime(timestamp));
  const author = make("bdi", {className: "result-author", title: username, dataset: {hue: hueOf(username, HUES)}}, username);
  const button = make(
    "button",
    {type: "button", className: "result", dataset: {id}},
    make("span", {className: "result-head"}, author, " ", time),
    make("span", {className: "result-text", dir: "auto"}, ...parts),
  );
  return make("li", {}, button);
}
