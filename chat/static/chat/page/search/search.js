import {hueOf, HUES} from "../log/message-view.js";
import {elements, make, write} from "../shell/dom.js";
import {isComposing} from "../shell/keyboard.js";
import {SidePanel} from "../shell/side-panel.js";
import {errorWords, shortTime, words} from "../shell/words.js";
import {excerpt} from "./highlight.js";

/** Results of one page. */
const PAGE = 20;
/** Most characters of a query, as on the server. */
const LONGEST = 200;

/** A search in the room: the query, the results so far, and whether there are more. Pure but for the client. */
export class Search {
  query = "";
  more = false;
  indexing = false; // the server has not indexed all messages yet
  loading = false;
  error = null; // a ChatError, of the last request
  #client;
  #room;
  #messages;
  #onChange;
  #ids = []; // ids of the found messages, newest first
  #place = {}; // start of the next page
  #fresh = true; // the next page replaces the results
  #turn = 0; // replies to earlier queries are ignored

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

  /** Whether a query was sent and its results so far are here. */
  get answered() {
    return this.query !== "" && !this.loading && this.error === null;
  }

  /** Search for other words; an empty query clears the results. Earlier results stay until the reply is here. */
  async ask(query) {
    const words = [...query.trim()].slice(0, LONGEST).join("");
    if (words === this.query && this.error === null) return;
    this.#start(words);
    if (words) await this.#load();
    else this.#forget();
  }

  /** The next page of results. */
  async next() {
    if (this.more && !this.loading) await this.#load();
  }

  /** Repeat a failed query, for instance after a reconnect. */
  async again() {
    if (this.error !== null && !this.loading) await this.#load();
  }

  /** A change arrived: a result may have another text now, or be gone. */
  received(frame) {
    if (!this.#ids.includes(frame.id)) return;
    this.#show(this.results.filter(({deleted}) => !deleted));
    this.#onChange();
  }

  /** The log has a new epoch: search again. */
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

/** Milliseconds without a key until the query is sent, and the shortest query. */
const PAUSE = 350;
const SHORTEST = 2;
/** ASCII text. In other scripts, and for emoji, one character is enough. */
const PLAIN = /^[\0-\x7f]*$/;

/** The search panel: a field, and the results as a list of links to the messages. */
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
    const modest = false; // after one result the reader goes on to the next
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

  /** Close the panel if it covers the messages. */
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

  /** The arrow keys go from the field to the results, and up and down in them. */
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
