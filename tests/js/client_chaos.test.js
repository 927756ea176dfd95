/**
 * A server that keeps its promises, a network that keeps none: requests, acks and broadcasts are lost with
 * their connections at any point, and the server is busy now and then. Afterwards everything is as if nothing
 * had happened.
 */

import assert from "node:assert/strict";
import {test} from "node:test";

import {FakeStorage, settle, world} from "./helpers.js";

/** Park and Miller's generator: the same seed gives the same disaster. */
function dice(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** The server's log of one room, and its end of each socket. */
class Server {
  log = [];
  numbers = new Map(); // ref → number

  /** Handle the commands of a socket that it has not handled. */
  handle(socket, {chance, calm}) {
    for (const command of socket.sent.splice(0)) {
      if (!calm && chance() < 0.1) return; // this and what follows never arrives
      this[command.type]?.(socket, command, calm ? () => 1 : chance);
    }
  }

  join(socket, {ref, since}) {
    const seq = this.log.length;
    const resumed = since !== undefined;
    socket.joined = true;
    socket.say({type: "welcome", room: "lobby", username: "Ann", seq, epoch: "e", resumed, ref, timestamp: 1});
    for (let n = since ?? seq; n < seq; n += 1) this.broadcast(socket, n + 1);
  }

  message(socket, {ref, content}, chance) {
    if (chance() < 0.1) {
      socket.refuse({ref}, "busy", chance() < 0.5 ? {retryAfter: Math.floor(chance() * 900)} : {});
      return;
    }
    const isNew = !this.numbers.has(ref);
    if (isNew) this.numbers.set(ref, this.log.push(content));
    const early = chance() < 0.3;
    if (isNew && early) this.broadcast(socket, this.log.length);
    if (chance() > 0.15) socket.ack({ref, room: "lobby"}, this.numbers.get(ref));
    if (isNew && !early) this.broadcast(socket, this.log.length);
  }

  ping(socket) {
    socket.say({type: "pong", timestamp: 1});
  }

  broadcast(socket, seq) {
    if (socket.joined) socket.message(seq, {username: "Ann", content: this.log[seq - 1]});
  }
}

async function disaster(seed) {
  const chance = dice(seed);
  const server = new Server();
  const here = world({random: chance, storage: new FakeStorage()});
  const promises = [];
  let said = 0;
  here.client.join("lobby");
  here.client.connect();
  for (let step = 0; step < 300; step += 1) {
    const {socket} = here;
    if (socket.readyState === 0 && chance() < 0.5) socket.accept();
    if (chance() < 0.15) promises.push(here.client.send("lobby", `${said++}`));
    if (socket.readyState === 1 && chance() < 0.7) server.handle(socket, {chance});
    if (socket.readyState < 2 && chance() < 0.06) socket.cut([1006, 1011, 1012, 4008][Math.floor(chance() * 4)]);
    if (chance() < 0.03) here.environment[chance() < 0.5 ? "offline" : "online"]();
    if (chance() < 0.03) here.environment.look();
    here.clock.pass(Math.floor(chance() * 2_000));
  }
  here.environment.online();
  for (let step = 0; step < 600 && (step < 50 || here.client.pending("lobby").length); step += 1) {
    if (here.socket.readyState === 0) here.socket.accept();
    server.handle(here.socket, {chance, calm: true});
    here.clock.pass(200);
  }
  return {here, server, said, answers: await Promise.all(promises)};
}

test("Through a hundred disasters every message is kept once, in order, told once, and answered.", async () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const {here, server, said, answers} = await disaster(seed);
    const all = Array.from({length: said}, (_, n) => `${n}`);
    assert.deepEqual(server.log, all, `log of seed ${seed}`);
    assert.deepEqual(answers.map(({id}) => server.log[id - 1]), all, `answers of seed ${seed}`);
    const told = here.of("message").map(({seq}) => seq);
    assert.deepEqual(told, all.map((_, n) => n + 1), `told by seed ${seed}`);
    here.client.close();
    assert.equal(here.clock.timers, 0);
  }
  await settle();
});
