/** Fakes for the client's tests: time that moves when told to, and the server's end of a socket. */

import {ChatClient} from "../../../chat/static/chat/client/client.js";

/** A clock without time of its own. */
export class FakeClock {
  #now = 0;
  #next = 1;
  #timers = new Map(); // id → {at, then}

  now = () => this.#now;

  setTimeout = (then, delay = 0) => {
    const id = this.#next++;
    this.#timers.set(id, {at: this.#now + delay, then});
    return id;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  /** How many timers are set. */
  get timers() {
    return this.#timers.size;
  }

  /** Let `ms` pass: each timer fires at its time, also those set meanwhile. */
  pass(ms) {
    const end = this.#now + ms;
    for (let due = this.#due(end); due; due = this.#due(end)) {
      const [id, {at, then}] = due;
      this.#timers.delete(id);
      this.#now = at;
      then();
    }
    this.#now = end;
  }

  #due(end) {
    let first = null;
    for (const entry of this.#timers) {
      if (entry[1].at <= end && (!first || entry[1].at < first[1].at)) first = entry;
    }
    return first;
  }
}

/** The browser's end of a socket, as the client sees it, and the server's end, as a test plays it. */
export class FakeSocket {
  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url) {
    this.url = url;
  }

  // The client's side

  send(text) {
    if (this.readyState !== 1) throw new Error("not open");
    this.sent.push(JSON.parse(text));
  }

  close(code, reason) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.closedWith = {code, reason};
  }

  // The server's side

  accept() {
    this.readyState = 1;
    this.onopen?.({});
  }

  say(frame) {
    this.onmessage?.({data: typeof frame === "string" ? frame : JSON.stringify(frame)});
  }

  /** Close from the server, or by the network (1006). */
  cut(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({code, reason});
  }

  /** The commands of one type that came. */
  of(type) {
    return this.sent.filter((command) => command.type === type);
  }

  last(type) {
    return this.of(type).at(-1);
  }

  welcome({room = "lobby", seq = 0, epoch = "e1", resumed = false, username = "Ann", you = keyOf(username)} = {}) {
    const {ref} = this.of("join").findLast((command) => command.room === room);
    this.say({type: "welcome", room, username, you, seq, epoch, resumed, timestamp: 1, protocol: 1, ref});
  }

  ack({ref, room}, seq) {
    this.say({type: "ack", ref, room, id: seq, seq, timestamp: 1000 + seq});
  }

  refuse({ref}, code, more = {}) {
    this.say({type: "error", code, message: `No: ${code}.`, timestamp: 1, ref, ...more});
  }

  message(seq, {room = "lobby", username = "Bob", content = `message ${seq}`, ...more} = {}) {
    const by = keyOf(username);
    this.say({type: "message", room, id: seq, seq, username, by, content, timestamp: 1000 + seq, ...more});
  }

  /** A numbered frame about a message that is there. */
  change(type, id, seq, more = {}) {
    this.say({type, room: "lobby", id, seq, ...more});
  }
}

/** A window and a document that tell what the test wants. */
export class FakeEnvironment {
  window = new EventTarget();
  document = new EventTarget();

  constructor() {
    this.window.navigator = {onLine: true};
    this.document.visibilityState = "visible";
  }

  offline() {
    this.window.navigator.onLine = false;
    this.window.dispatchEvent(new Event("offline"));
  }

  online() {
    this.window.navigator.onLine = true;
    this.window.dispatchEvent(new Event("online"));
  }

  look(visibilityState = "visible") {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
}

/** A store in memory. `entries` outlives the page. */
export class FakeStore {
  entries = new Map();
  load = async () => [...this.entries.values()];
  put = async (entry) => void this.entries.set(entry.ref, structuredClone(entry));
  delete = async (ref) => void this.entries.delete(ref);
}

const EVENTS = (
  "state welcome join leave userList message edit delete react read typing history found " +
  "person reset pending sent later refused error position room removed expiring members invite"
).split(" ");

/** A client in a world of fakes. `events` has what it said: [type, detail]. */
export function world({random = () => 0.5, ...options} = {}) {
  const clock = new FakeClock();
  const environment = new FakeEnvironment();
  const sockets = [];
  const WebSocket = class extends FakeSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
    }
  };
  const client = new ChatClient("ws://test/ws", {WebSocket, clock, environment, random, ...options});
  const events = [];
  for (const type of EVENTS) {
    client.addEventListener(type, ({detail}) => events.push([type, detail]));
  }
  return {
    client,
    clock,
    environment,
    sockets,
    events,
    /** The socket in use. */
    get socket() {
      return sockets.at(-1);
    },
    /** The details of the events of one type. */
    of: (type) => events.filter(([name]) => name === type).map(([, detail]) => detail),
  };
}

/** A world whose client is in the lobby, at `seq`. */
export function joined({seq = 0, ...options} = {}) {
  const here = world(options);
  enter(here, {seq});
  return here;
}

/** Join the lobby and be welcomed. */
export function enter(here, welcome) {
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  here.socket.welcome(welcome);
}

/** Let the next try come and be accepted, as far as the open socket. */
export function comeBack(here) {
  here.clock.pass(here.of("state").at(-1).retryIn);
  here.socket.accept();
}

/** Somebody's key, as the server gives it. */
export const keyOf = (username) => `key of ${username}`;

/** Messages as they are on the wire: without what the client has marked (person.js). */
export function bare(messages) {
  return messages.map(({own, reactions, ...message}) => {
    const unmarked = reactions?.map(({own: mine, place, others, ...reaction}) => reaction);
    return unmarked ? {...message, reactions: unmarked} : message;
  });
}

/** Let promise callbacks run. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));
