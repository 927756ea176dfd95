import {changed} from "../../client/changes.js";

/** Results of one page. */
const PAGE = 20;
/** Characters of a query, as the server has it. */
const LONGEST = 200;

/** A search through the room: the words, what was found so far, and whether there is more. Pure but for the client. */
export class Search {
  query = "";
  results = []; // messages, newest first
  more = false;
  indexing = false; // the server's index does not have all messages yet
  loading = false;
  error = null; // a ChatError, of the last request
  #client;
  #room;
  #onChange;
  #place = {}; // where the next page begins
  #fresh = true; // the next page takes the place of what is there
  #turn = 0; // an answer to an earlier question is not wanted any more

  /** @param {{client, room: string, onChange: () => void}} options */
  constructor({client, room, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#onChange = onChange;
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
    if (!this.results.some(({id}) => id === frame.id)) return;
    this.results = this.results.map((message) => changed(message, frame)).filter(({deleted}) => !deleted);
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
    this.results = [];
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
    Object.assign(this, {results, more, error, indexing, loading: false});
    this.#onChange();
  }
}
