/**
 * A topic of keys and notes as the protocol has it, for tests: numbers, refs, patches, ticks, coming back, presence.
 * With `chance` it loses, conflates and refuses; without, it keeps its promises.
 */

import {keyOf} from "./helpers.js";

const calm = () => 1;

export class TopicServer {
  /** The present entries, by key, or by `#id` for a note: {id, seq, key?, event?, data?, gone?}. */
  entries = new Map();
  seq = 0;
  epoch = "e1";
  /** Each ref of a publication, with its seq, and how often it was applied. */
  refs = new Map();
  floor = 0; // clients that have less than this number start over
  chance = calm;
  #sockets = new Map(); // socket → the position up to which it was sent
  #name;

  constructor(name) {
    this.#name = name;
  }

  /** The map that each client ends with. */
  get state() {
    return new Map([...this.entries.values()].filter(({key, gone}) => key && !gone).map(({key, data}) => [key, data]));
  }

  get notes() {
    return [...this.entries.values()].filter(({key}) => !key).map(({id, data}) => ({id, data}));
  }

  /** Handle the commands of a socket that were not handled. */
  handle(socket) {
    for (const command of socket.sent.splice(0)) {
      if (this.chance() < 0.06) return; // this and what follows never arrives
      const busy = command.type !== "ping" && this.chance() < 0.06;
      if (busy) socket.refuse(command, "busy", this.chance() < 0.5 ? {retryAfter: 300} : {});
      else this[command.type]?.(socket, command);
    }
  }

  // --- Commands ---

  subscribe(socket, {ref, since, epoch}) {
    const resumed = epoch === this.epoch && since <= this.seq && since >= this.floor;
    const seq = resumed ? since : 0;
    const frame = {seq, epoch: this.epoch, resumed, keep: "latest", may: ["publish"], you: keyOf("Ann"), ref};
    socket.say({type: "subscribed", topic: this.#name, timestamp: 1, ...frame});
    this.#sockets.set(socket, seq);
    this.#catchUp(socket);
  }

  unsubscribe(socket) {
    this.#sockets.delete(socket);
  }

  publish(socket, {ref, event, data, key, gone}) {
    if (!this.#sockets.has(socket)) return socket.refuse({ref}, "not_subscribed");
    if (!this.refs.has(ref)) this.refs.set(ref, gone ? this.remove(key) : this.put(event, data, key));
    if (this.chance() > 0.15) socket.say({type: "ack", topic: this.#name, id: 1, seq: this.refs.get(ref), ref, timestamp: 1});
  }

  ping(socket) {
    socket.say({type: "pong", timestamp: 1});
  }

  // --- Changes ---

  /** @returns {number} its seq */
  put(event, data, key) {
    this.seq += 1;
    const place = key ?? `#${this.seq}`;
    const former = this.entries.get(place);
    this.entries.delete(place); // it goes to the end: the order is that of seq
    const entry = {id: this.seq, seq: this.seq, event, data, key, timestamp: 1};
    if (former?.data) Object.assign(entry, {patch: difference(former.data, data), base: former.seq});
    this.entries.set(place, entry);
    return this.seq;
  }

  remove(key) {
    this.seq += 1;
    this.entries.delete(key);
    this.entries.set(key, {id: this.seq, seq: this.seq, key, gone: true, timestamp: 1});
    return this.seq;
  }

  /** The topic is another: none of the old numbers counts. */
  startOver() {
    this.epoch = `e${Number(this.epoch.slice(1)) + 1}`;
    this.seq = this.floor = 0;
    this.entries.clear();
    this.#greet(() => true);
  }

  /** Forget removed keys: a client that has not seen them go has to start over. */
  prune() {
    this.floor = this.seq;
    for (const [place, {gone}] of this.entries) if (gone) this.entries.delete(place);
    this.#greet((position) => position < this.floor);
  }

  /** Send each socket what it lacks: one frame for each entry, or one for all. */
  tick() {
    for (const socket of this.#sockets.keys()) {
      if (socket.readyState === 3) this.#sockets.delete(socket);
      else if (this.chance() < 0.5 && this.chance !== calm) this.#conflated(socket);
      else this.#catchUp(socket);
    }
  }

  // --- Inside ---

  /** Sockets that can't go on get a `subscribed` that they did not ask for. */
  #greet(which) {
    for (const [socket, position] of this.#sockets) {
      if (socket.readyState === 3) this.#sockets.delete(socket);
      else if (which(position)) this.subscribe(socket, {});
    }
  }

  #lacking(socket) {
    const since = this.#sockets.get(socket);
    return [...this.entries.values()].filter(({seq}) => seq > since);
  }

  /** A frame for each entry, behind the number before it, and a `position` for numbers without an entry. */
  #catchUp(socket) {
    const known = this.#sockets.get(socket);
    for (const {patch, base, data, ...entry} of this.#lacking(socket)) {
      if (this.chance() < 0.03) return socket.cut();
      const value = base <= known ? {patch} : {data}; // a patch is for those who have the value before it
      this.#send(socket, entry.seq, {type: "publication", ...entry, ...value});
    }
    this.#send(socket, this.seq, {type: "position"});
    return undefined;
  }

  #conflated(socket) {
    const entries = this.#lacking(socket).map(({id, event, data, key, gone, timestamp}) => {
      if (gone) return [null, key];
      return key === undefined ? [event, null, data, id, timestamp] : [event, key, data];
    });
    if (entries.length) this.#send(socket, this.seq, {type: "publications", entries});
  }

  #send(socket, seq, frame) {
    const follows = this.#sockets.get(socket);
    if (seq === follows) return;
    this.#sockets.set(socket, seq);
    const place = follows === seq - 1 ? {seq} : {seq, follows};
    const times = this.chance() < 0.04 ? 0 : this.chance() < 0.04 ? 2 : 1; // lost, or twice
    for (let time = 0; time < times; time += 1) socket.say({topic: this.#name, ...frame, ...place});
  }
}

/** The merge patch (RFC 7396) from one flat object to another. */
function difference(former, data) {
  const patch = {};
  for (const name of Object.keys(former)) if (!(name in data)) patch[name] = null;
  for (const [name, value] of Object.entries(data)) if (value !== former[name]) patch[name] = value;
  return patch;
}
