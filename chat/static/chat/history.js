/** Pages of a room's history on their way into its timeline: the latest once, then older ones on request. */

/** Messages of one page. */
const PAGE = 50;

export class HistoryPages {
  begun = false; // the latest page is in the timeline
  loading = false;
  failed = false; // the last request, though there was a connection
  #client;
  #room;
  #timeline;
  #onChange;

  /** @param {{client, room: string, timeline, onChange: () => void}} options */
  constructor({client, room, timeline, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#onChange = onChange;
  }

  /** The latest page, unless it is here. Called at each welcome: an earlier try may have lost its connection. */
  async begin() {
    if (!this.begun) this.begun = await this.#load();
    this.#onChange();
  }

  async older() {
    if (this.begun && this.#timeline.extensible) await this.#load(this.#timeline.oldest ?? undefined);
  }

  /** The log is of another life. */
  reset() {
    this.begun = false;
    this.#timeline.reset();
  }

  /** Resolves with whether the page came. */
  async #load(before) {
    if (this.loading) return false;
    this.loading = true;
    this.#onChange();
    const page = await this.#client.history(this.#room, {before, limit: PAGE}).catch((error) => error);
    this.loading = false;
    const came = !(page instanceof Error);
    this.failed = !came && page.code !== "disconnected";
    if (came) this.#timeline.addHistory(page);
    this.#onChange();
    return came;
  }
}
