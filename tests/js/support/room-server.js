/**
 * The lobby as the protocol has it, for tests: numbers, refs, edits, deletions, emoji, coming back, history. With
 * `chance` it loses, delays and refuses; without, it keeps its promises.
 */

import {keyOf} from "./helpers.js";

const calm = () => 1;
const byId = (a, b) => a.id - b.id;
const bySeq = (a, b) => a.seq - b.seq;

/** Changes that somebody who comes back may have missed; after more they start over. */
const KEPT = 40;

export class RoomServer {
  messages = new Map(); // id → message, as the wire has it
  seq = 0;
  epoch = "e";
  refs = new Map(); // `author ref` → id
  chance = calm;
  #sockets = new Map(); // socket → username
  #late = []; // answers that were read, and are not sent yet

  /** The state that the page of the room is served with. */
  page() {
    return {messages: this.#states(byId).slice(-10), seq: this.seq, epoch: this.seq ? this.epoch : null};
  }

  /** Handle the commands of somebody's socket that were not handled. */
  handle(socket, username) {
    for (const command of socket.sent.splice(0)) {
      if (this.chance() < 0.06) return; // this and what follows never arrives
      const busy = "ref" in command && this.chance() < 0.06;
      if (busy) socket.refuse(command, "busy", this.chance() < 0.5 ? {retryAfter: 300} : {});
      else this[command.type]?.(socket, command, username);
    }
  }

  /** Send the answers that were read before. In a browser promises settle before the next frame: so let them. */
  answer() {
    for (const send of this.#late.splice(0)) send();
  }

  // --- Commands ---

  join(socket, {ref, since, epoch}, username) {
    this.#sockets.set(socket, username);
    const missed = this.#states().filter(({seq}) => seq > (since ?? Infinity));
    const resumed = since <= this.seq && epoch === this.epoch && missed.length <= KEPT;
    const {seq, epoch: now} = this;
    const you = keyOf(username);
    socket.say({type: "welcome", room: "lobby", username, you, seq, epoch: now, resumed, ref, timestamp: 1});
    if (resumed) this.#catchUp(socket, missed, since);
  }

  message(socket, {ref, content, replyTo}, username) {
    const name = `${username} ${ref}`;
    if (!this.refs.has(name)) {
      this.refs.set(name, this.seq + 1);
      this.say(username, content, replyTo);
    }
    this.#ack(socket, ref, this.refs.get(name));
  }

  edit(socket, {ref, id, content}, username) {
    this.#ofOwn(socket, {ref, id}, username, (message) => {
      if (message.content !== content) this.change("edit", id, {content, edited: this.seq});
    });
  }

  delete(socket, {ref, id}, username) {
    this.#ofOwn(socket, {ref, id}, username, () => this.change("delete", id));
  }

  react(socket, {ref, id, emoji, on}, username) {
    const message = this.messages.get(id);
    if (!message || message.deleted) return socket.refuse({ref}, "not_found");
    const has = (message.reactions ?? []).some((reaction) => reaction.emoji === emoji);
    // One person reacts in this room, so an emoji is on or off.
    const others = (message.reactions ?? []).filter((reaction) => reaction.emoji !== emoji);
    const reactions = on ? [...others, {emoji, usernames: [username], count: 1, by: [keyOf(username)]}] : others;
    if (has !== on) this.change("react", id, {reactions});
    return this.#ack(socket, ref, id);
  }

  history(socket, {ref, before = Infinity, limit}) {
    const older = this.#states(byId).filter(({id}) => id < before);
    this.#answer(socket, {type: "history", messages: older.slice(-limit), more: older.length > limit, ref});
  }

  search(socket, {ref, query, limit}) {
    const found = this.#states(byId).reverse().filter(({content}) => content.includes(query));
    this.#answer(socket, {type: "found", messages: found.slice(0, limit), more: found.length > limit, ref});
  }

  ping(socket) {
    socket.say({type: "pong", timestamp: 1});
  }

  // --- Changes, also of people without a socket ---

  say(username, content, replyTo) {
    this.seq += 1;
    const place = {type: "message", room: "lobby", id: this.seq, seq: this.seq};
    const message = {...place, username, by: keyOf(username), content, timestamp: 1};
    if (replyTo !== undefined) message.replyTo = replyTo;
    this.messages.set(message.id, message);
    this.#publish(message);
  }

  change(type, id, more = {}) {
    this.seq += 1;
    const {content, edited, reactions, ...rest} = this.messages.get(id);
    const gone = {...rest, content: "", deleted: true};
    const message = type === "delete" ? gone : given({...rest, content, edited, reactions, ...more});
    message.seq = this.seq;
    this.messages.set(id, message);
    this.#publish(type === "react" ? {...this.#event(type, message), ...more} : this.#event(type, message));
  }

  // --- Inside ---

  /** Each message once, whole, behind the number before it. The connection can be lost on the way. */
  #catchUp(socket, missed, since) {
    for (const [i, message] of missed.entries()) {
      if (this.chance() < 0.05) return socket.cut();
      const follows = missed[i - 1]?.seq ?? since;
      socket.say(follows === message.seq - 1 ? message : {...message, follows});
    }
    return undefined;
  }

  #ofOwn(socket, {ref, id}, username, work) {
    const message = this.messages.get(id);
    if (message && message.username !== username) return socket.refuse({ref}, "forbidden");
    if (!message || message.deleted) return socket.refuse({ref}, "not_found");
    work(message);
    return this.#ack(socket, ref, id);
  }

  #ack(socket, ref, id) {
    const ack = {type: "ack", room: "lobby", ref, id, seq: this.messages.get(id).seq, timestamp: 1};
    if (this.chance() > 0.15) socket.say(ack);
  }

  #answer(socket, frame) {
    const copy = structuredClone({...frame, room: "lobby", timestamp: 1});
    this.#late.push(() => socket.say(copy));
  }

  #publish(frame) {
    for (const socket of this.#sockets.keys()) {
      if (socket.readyState === 3) this.#sockets.delete(socket);
      else if (this.chance() > 0.05) socket.say(frame);
    }
  }

  #event(type, message) {
    return type === "react" ? {type, room: "lobby", id: message.id, seq: message.seq} : eventOf(message);
  }

  #states(order = bySeq) {
    return [...this.messages.values()].sort(order);
  }
}

function eventOf({id, seq, content, edited, reactions, deleted}) {
  const frame = {room: "lobby", id, seq};
  return deleted ? {...frame, type: "delete"} : {...frame, type: "edit", ...given({content, edited, reactions})};
}

function given(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
