/** Topics over a network that keeps no promises: every client ends with the server's map, and publishes once. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {settle, world} from "../support/helpers.js";
import {TopicServer} from "../support/topic-server.js";

const SEEDS = 200;
const STEPS = 150;
const NAME = "board:cpu";
const KEYS = ["a", "b", "c", "d"];

/** Park and Miller's generator: the same seed gives the same disaster. */
function dice(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** Two of three readings have a label. */
const reading = (chance) => ({value: chance(), ...(chance() < 0.66 && {label: `${Math.floor(3 * chance())}`})});

/** A client whose copy is also rebuilt from the events that it is told. */
function follow(here) {
  const topic = here.client.topic(NAME);
  const told = {state: new Map(), notes: [], changes: 0};
  topic.on("reading", ({key, data}) => told.state.set(key, data));
  topic.on("gone", ({key}) => told.state.delete(key));
  topic.on("note", ({id, data}) => told.notes.push({id, data}));
  topic.on("change", () => (told.changes += 1));
  topic.on("reset", () => {
    told.state.clear();
    told.notes.length = 0;
  });
  return {topic, told};
}

/** Something happens on the server, without the client. */
function stir(server, chance) {
  const key = KEYS[Math.floor(chance() * KEYS.length)];
  const happens = chance();
  if (happens < 0.6) server.put("reading", reading(chance), key);
  else if (happens < 0.8) server.remove(key);
  else if (happens < 0.95) server.put("note", {text: `${server.seq}`});
  else if (happens < 0.98) server.prune();
  else server.startOver();
}

async function disaster(seed) {
  const chance = dice(seed);
  const server = new TopicServer(NAME);
  const here = world({random: chance});
  const {topic, told} = follow(here);
  const answers = [];
  here.client.connect();
  server.chance = chance;
  for (let step = 0; step < STEPS; step += 1) {
    if (chance() < 0.4) stir(server, chance);
    if (here.socket.readyState === 0 && chance() < 0.5) here.socket.accept();
    if (chance() < 0.1) answers.push(publish(topic, chance));
    if (here.socket.readyState === 1 && chance() < 0.7) server.handle(here.socket);
    if (chance() < 0.4) server.tick();
    if (here.socket.readyState < 2 && chance() < 0.05) here.socket.cut();
    here.clock.pass(Math.floor(chance() * 2_000));
  }
  await calmDown(server, here);
  return {server, here, topic, told, answers};
}

function publish(topic, chance) {
  const key = KEYS[Math.floor(chance() * KEYS.length)];
  const gone = chance() < 0.2;
  return topic.publish(gone ? null : "reading", gone ? null : reading(chance), {key, gone});
}

async function calmDown(server, here) {
  server.chance = () => 1;
  for (let step = 0; step < 200; step += 1) {
    if (here.socket.readyState === 0) here.socket.accept();
    server.handle(here.socket);
    if (step === 100) server.put("note", {text: "the last word"}); // which shows what was lost before it
    server.tick();
    here.clock.pass(1_000);
    await settle();
  }
}

test(`Through ${SEEDS} disasters each client ends with the server's map.`, async () => {
  let published = 0;
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const {server, here, topic, told, answers} = await disaster(seed);
    const seqs = (await Promise.all(answers)).map(({seq}) => seq);
    assert.deepEqual(topic.state, server.state, `state of seed ${seed}`);
    assert.deepEqual(told.state, server.state, `told by seed ${seed}`);
    assert.deepEqual(topic.entries.map(({id, data}) => ({id, data})), server.notes, `notes of seed ${seed}`);
    assert.deepEqual(told.notes, server.notes, `told notes of seed ${seed}`);
    assert.deepEqual(topic.getSnapshot().state, server.state, `snapshot of seed ${seed}`);
    assert.deepEqual([...server.refs.values()], seqs, `published once and in order by seed ${seed}`);
    here.client.close();
    assert.equal(here.clock.timers, 0);
    published += seqs.length;
  }
  assert.ok(published > 5 * SEEDS, "there was something to publish");
});
