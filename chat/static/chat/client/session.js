import {Connection} from "./connection.js";
import {Credentials} from "./credentials.js";
import {Ephemeral} from "./ephemeral.js";
import {isNumbered} from "./messages.js";
import {Person} from "./person.js";
import {ChatError, CLOSE, comesBack} from "./protocol.js";
import {Publisher} from "./publisher.js";
import {Queries} from "./queries.js";
import {Subscriptions} from "./subscription.js";
import {Topics} from "./topic.js";

/** Events that the client makes itself: a frame of such a type is not passed on. */
const OWN_EVENTS = new Set(["state", "person", "reset", "pending", "sent", "later", "refused"]);

/** The parts of a ChatClient, and the way of each frame to the part that it is for. */
export class Session {
  person;
  rooms;
  publisher;
  queries;
  ephemeral;
  topics;
  connection;
  #credentials;
  #emit;
  #clock;
  #random;

  /**
   * @param {string} url
   * @param {object} options as ChatClient takes them
   * @param {(type: string, detail: object) => void} emit
   */
  constructor(url, {you, WebSocket, environment, store, token, outboxLimit, clock, random}, emit) {
    this.#emit = emit;
    this.#clock = clock;
    this.#random = random;
    this.person = new Person(you);
    this.#credentials = new Credentials({token, clock, random});
    const transmit = (command) => this.connection.send(command);
    const tools = {transmit, clock, random, token: () => this.#credentials.current};
    this.connection = this.#newConnection(url, WebSocket, environment);
    this.rooms = new Subscriptions({emit, tools});
    this.publisher = new Publisher({store, person: this.person, limit: outboxLimit, emit, tools});
    this.queries = new Queries({emit, tools});
    this.ephemeral = new Ephemeral(tools);
    this.topics = new Topics({...tools, ask: (command, objection) => this.ask(command, objection)});
  }

  /**
   * Ask a query, if there is a connection.
   * @param {ChatError | null} [objection] why it can't be asked at all
   * @returns {Promise<object>} the answering frame; rejected with a ChatError
   */
  ask(command, objection = null) {
    if (!objection && this.connection.state === "open") return this.queries.ask(command);
    const refused = Promise.reject(objection ?? new ChatError("disconnected", "There is no connection."));
    refused.catch(() => {});
    return refused;
  }

  // --- The connection ---

  #newConnection(url, WebSocket = globalThis.WebSocket, {window, document} = globalThis) {
    return new Connection(
      url,
      {
        WebSocket,
        clock: this.#clock,
        random: this.#random,
        environment: {window, document},
        comesBack: (code) => comesBack(code) || (code === CLOSE.NOT_SIGNED_IN && this.#credentials.given),
      },
      {
        state: (detail) => this.#emit("state", detail),
        open: () => this.#credentials.renew(() => this.#entered()),
        frame: (frame) => this.#received(frame),
        loss: () => this.#lost(),
      },
    );
  }

  #entered() {
    this.rooms.enter();
    this.topics.enter();
  }

  #lost() {
    this.#credentials.lost();
    this.topics.lost();
    this.rooms.lost();
    this.publisher.stop();
    this.ephemeral.lost();
    this.queries.lost();
  }

  // --- Incoming frames ---

  #received(frame) {
    // Replies to queries are theirs, whatever they are about.
    if (frame.topic !== undefined && frame.room === undefined && frame.type !== "entries") {
      this.topics.received(frame);
      return;
    }
    this.person.mark(frame, this.rooms.get(frame.room)?.name);
    const handler = this.#handlers.get(frame.type);
    if (handler) handler(frame);
    else if (typeof frame.type === "string" && !OWN_EVENTS.has(frame.type)) this.#event(frame);
  }

  #handlers = new Map([
    ["welcome", (frame) => this.#welcomed(frame)],
    ["ack", (frame) => this.queries.acked(frame) || this.publisher.acked(frame)],
    ["error", (frame) => this.#errored(frame)],
    ["history", (frame) => this.queries.answer(frame)],
    ["found", (frame) => this.queries.answer(frame)],
    ["members", (frame) => this.queries.answer(frame)],
    ["sharing", (frame) => this.queries.answer(frame)],
    ["invite", (frame) => this.queries.answer(frame)],
    ["entries", (frame) => this.queries.answer(frame)],
    ["removed", (frame) => this.#removed(frame)],
    ["expiring", (frame) => this.#expiring(frame)],
    ["read", (frame) => this.#readElsewhere(frame)],
    ["reconnect", ({after}) => Number.isFinite(after) && this.connection.reconnectIn(after)],
    ["pong", () => {}], // the socket has seen it
  ]);

  #event(frame) {
    if (isNumbered(frame)) {
      if (!this.rooms.takes(frame)) return;
      this.queries.changed(frame);
    }
    this.#emit(frame.type, frame);
  }

  #readElsewhere(frame) {
    if (this.rooms.has(frame.room)) this.ephemeral.readElsewhere(frame.room, frame.seq);
    this.#emit("read", frame);
  }

  #welcomed(frame) {
    const {room, epoch, read} = frame;
    const subscription = this.rooms.get(room);
    if (!subscription) return; // left before the answer came
    this.#identify(frame);
    if (this.rooms.get(room) !== subscription) return; // a listener left
    const startOver = subscription.welcomed(frame) === "reset";
    if (startOver) this.queries.startOver(room);
    this.#emit("welcome", frame);
    if (startOver) this.#emit("reset", {room});
    if (this.rooms.get(room) !== subscription) return; // a listener left
    this.ephemeral.enter(room, read, startOver);
    this.publisher.start(room, epoch);
  }

  /** A server of the previous version sends no `you`. */
  #identify({you, username}) {
    if (you === undefined || you === this.person.key) return;
    const another = this.person.key !== null;
    this.person.key = you;
    if (another) {
      this.ephemeral.clear();
      this.#emit("person", {you, username});
    }
    this.publisher.identified(new ChatError("other_person", "Somebody else is signed in now."));
  }

  #removed(frame) {
    if (!this.rooms.removed(frame)) return;
    for (const part of [this.publisher, this.ephemeral]) part.pause(frame.room);
    this.queries.removed(frame.room);
    this.#emit("removed", frame);
  }

  #expiring(frame) {
    if (this.#credentials.given) this.#credentials.renew(() => this.#showToken());
    this.#emit("expiring", frame);
  }

  #showToken() {
    this.queries.ask({type: "token", token: this.#credentials.current});
  }

  #errored(frame) {
    const answers = [this.rooms, this.queries, this.publisher, this.topics];
    if (!answers.some((part) => part.errored(frame))) this.#emit("error", frame);
  }
}
