/** The link: found dead in time, redone with full jitter, obedient to close codes and to its surroundings. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {Backoff} from "../../../chat/static/chat/client/backoff.js";
import {comeBack, joined, settle, world} from "../support/helpers.js";

const states = (here) => here.of("state").map(({state}) => state);

test("The states are told in order.", () => {
  const here = joined();
  here.socket.cut(1006);
  assert.deepEqual(states(here), ["connecting", "open", "waiting"]);
  assert.deepEqual(here.of("state").at(-1), {state: "waiting", retryIn: 250, code: 1006, reason: ""});
});

test("A dead link is found and dropped within 25 s, whenever it dies.", () => {
  for (let death = 0; death <= 30_000; death += 500) {
    const here = joined({random: () => 0});
    for (let t = 0; t < death; t += 500) {
      here.clock.pass(500);
      if (here.socket.sent.at(-1).type === "ping") here.socket.say({type: "pong", timestamp: 1});
    }
    assert.equal(here.sockets.length, 1, `alive until ${death}`);
    here.clock.pass(25_000);
    assert.ok(here.sockets.length > 1, `dead at ${death}`);
    assert.equal(here.sockets[0].closedWith.code, 4000);
  }
});

test("A quiet link is asked, and lives on when it answers.", () => {
  const here = joined();
  for (let minute = 0; minute < 60; minute += 1) {
    here.clock.pass(10_000);
    here.socket.say({type: "pong", timestamp: 1});
  }
  assert.equal(here.sockets.length, 1);
  assert.ok(here.socket.of("ping").length > 25);
});

test("A link that talks is not asked.", () => {
  const here = joined();
  for (let seq = 1; seq <= 100; seq += 1) {
    here.clock.pass(9_000);
    here.socket.message(seq);
  }
  assert.deepEqual(here.socket.of("ping"), []);
});

test("A frame that can't be read is a sign of life and nothing else.", () => {
  const here = joined();
  here.clock.pass(10_000);
  for (const junk of ["", "{", "null", "7", "[]", '{"type":7}', '{"type":"__proto__"}']) here.socket.say(junk);
  here.clock.pass(9_999);
  assert.equal(here.sockets.length, 1);
});

test("A later server is no harm: what it says newly is passed on, what it adds is left alone.", () => {
  const here = world();
  const received = [];
  here.client.addEventListener("sunrise", ({detail}) => received.push(detail));
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  const {ref} = here.socket.last("join");
  const more = {protocol: 2, weather: {sky: "blue"}};
  here.socket.say({type: "welcome", room: "lobby", username: "Ann", seq: 0, epoch: "e1", resumed: false, ref, ...more});
  here.socket.say({type: "sunrise", room: "lobby", at: 5});
  here.socket.message(1, {mood: "fine"});
  assert.deepEqual(received, [{type: "sunrise", room: "lobby", at: 5}]);
  assert.deepEqual(here.of("message").map(({content}) => content), ["message 1"]);
  assert.equal(here.socket.closedWith, null);
});

test("A handshake without an answer is given up after 10 s.", () => {
  const here = world();
  here.client.connect();
  here.clock.pass(9_999);
  assert.equal(here.socket.closedWith, null);
  here.clock.pass(1);
  assert.equal(here.socket.closedWith.code, 4000);
  assert.equal(here.client.state, "waiting");
});

test("Back-off is drawn from the whole range up to a ceiling that doubles to 30 s.", () => {
  const high = new Backoff({random: () => 0.999999});
  const ceilings = Array.from({length: 9}, () => high.next());
  assert.deepEqual(ceilings, [499, 999, 1999, 3999, 7999, 15999, 29999, 29999, 29999]);
  const low = new Backoff({random: () => 0});
  assert.deepEqual([low.next(), low.next(), low.next()], [0, 0, 0]);
  for (let n = 0; n < 5_000; n += 1) high.next();
  assert.equal(high.next(), 29999);
  high.reset();
  assert.equal(high.next(), 499);
});

test("Failing tries wait longer and longer.", () => {
  const here = world({random: () => 0.999});
  here.client.connect();
  const waits = [];
  for (let n = 0; n < 8; n += 1) {
    here.socket.cut();
    waits.push(here.of("state").at(-1).retryIn);
    here.clock.pass(waits.at(-1));
  }
  assert.deepEqual(waits, [499, 999, 1998, 3996, 7992, 15984, 29970, 29970]);
});

test("A welcome is no proof of health: only a link that held starts the back-off over.", () => {
  const here = joined({random: () => 0.999});
  for (const expected of [499, 999, 1998]) {
    here.socket.cut(1011);
    assert.equal(here.of("state").at(-1).retryIn, expected);
    here.clock.pass(expected);
    here.socket.accept();
    here.socket.welcome({resumed: true});
  }
  here.clock.pass(5_000);
  here.socket.cut(1011);
  assert.equal(here.of("state").at(-1).retryIn, 499);
});

for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4008, 4029, 4399]) {
  test(`After ${code} the client comes back.`, () => {
    const here = joined();
    here.socket.cut(code);
    assert.equal(here.client.state, "waiting");
    comeBack(here);
    assert.equal(here.client.state, "open");
  });
}

for (const code of [4400, 4401, 4403, 4999]) {
  test(`After ${code} it does not, until it is told to.`, () => {
    const here = joined();
    here.socket.cut(code, "why");
    assert.deepEqual(here.of("state").at(-1), {state: "closed", code, reason: "why"});
    here.environment.online();
    here.environment.look();
    here.clock.pass(3_600_000);
    assert.equal(here.sockets.length, 1);
    assert.equal(here.clock.timers, 0);
    here.client.connect();
    here.socket.accept();
    assert.equal(here.socket.of("join").length, 1);
  });
}

test("Going offline drops the link at once; going online redoes it at once.", () => {
  const here = joined();
  here.environment.offline();
  assert.equal(here.client.state, "offline");
  assert.notEqual(here.socket.closedWith, null);
  here.environment.online();
  assert.equal(here.client.state, "connecting");
  here.socket.accept();
  assert.equal(here.client.state, "open");
});

test("A browser that is wrong about being offline is not believed for ever.", () => {
  const here = joined();
  here.environment.offline();
  here.clock.pass(30_000);
  assert.equal(here.sockets.length, 2);
  here.socket.accept();
  assert.equal(here.client.state, "open");
});

test("A tab that is looked at again tries at once.", () => {
  const here = joined({random: () => 0.999});
  here.socket.cut();
  here.environment.look("hidden");
  assert.equal(here.sockets.length, 1);
  here.environment.look();
  assert.equal(here.sockets.length, 2);
});

test("A tab that is looked at again checks a link that seems open, and drops it in 4 s.", () => {
  const here = joined();
  here.environment.look();
  assert.equal(here.socket.of("ping").length, 1);
  here.clock.pass(3_999);
  assert.equal(here.client.state, "open");
  here.clock.pass(1);
  assert.equal(here.client.state, "waiting");
});

test("A page that returns from the back-forward cache checks its link.", () => {
  const here = joined();
  here.environment.window.dispatchEvent(new Event("pageshow"));
  assert.equal(here.socket.of("ping").length, 0);
  here.environment.window.dispatchEvent(Object.assign(new Event("pageshow"), {persisted: true}));
  assert.equal(here.socket.of("ping").length, 1);
});

test("`connect` while waiting tries now; while connected it does nothing.", () => {
  const here = joined();
  here.client.connect();
  assert.equal(here.sockets.length, 1);
  here.socket.cut();
  here.client.connect();
  assert.equal(here.sockets.length, 2);
});

test("`reconnect` names the time to come back, for either side's close.", () => {
  for (const closes of [true, false]) {
    const here = joined();
    here.socket.say({type: "reconnect", after: 7_000, reason: "restart"});
    here.clock.pass(2_000);
    if (closes) {
      here.socket.cut(1012);
      assert.equal(here.of("state").at(-1).retryIn, 5_000);
    }
    here.environment.look(); // looking at the tab does not jump the queue
    here.socket.say({type: "pong", timestamp: 1});
    here.clock.pass(4_999);
    assert.equal(here.sockets.length, 1);
    here.clock.pass(1);
    assert.equal(here.sockets.length, 2);
    here.socket.cut();
    assert.equal(here.of("state").at(-1).retryIn, 250, "then it is the back-off again");
  }
});

test("A nonsensical `reconnect` is bounded.", () => {
  const here = joined();
  here.socket.say({type: "reconnect", after: "soon"});
  here.socket.say({type: "reconnect", after: 1e12});
  here.socket.cut(1012);
  assert.equal(here.of("state").at(-1).retryIn, 300_000);
});

test("After `close` nothing is left: no timer, no listener, no reconnect.", async () => {
  const moments = [
    () => {},
    (here) => here.socket.cut(),
    (here) => here.environment.offline(),
    (here) => here.client.send("lobby", "hi"),
    (here) => here.client.history("lobby"),
    (here) => (here.client.history("lobby"), here.socket.refuse(here.socket.last("history"), "busy")),
    (here) => (here.client.join("garden"), here.socket.refuse(here.socket.last("join"), "busy")),
    (here) => here.socket.say({type: "reconnect", after: 7_000}),
    (here) => (here.socket.cut(), here.clock.pass(250)),
  ];
  for (const moment of moments) {
    const here = joined();
    moment(here);
    const sockets = here.sockets.length;
    here.client.close();
    assert.equal(here.clock.timers, 0);
    here.environment.online();
    here.environment.look();
    assert.equal(here.sockets.length, sockets);
    assert.equal(here.socket.readyState, 3);
    assert.deepEqual(here.of("state").at(-1), {state: "closed", code: 1000, reason: ""});
  }
});

test("`close` rejects what was promised.", async () => {
  const here = joined();
  const pendingMessages = here.client.send("lobby", "hi");
  const asking = here.client.history("lobby");
  const joining = here.client.join("garden");
  here.client.close();
  await assert.rejects(pendingMessages, {code: "closed"});
  await assert.rejects(asking, {code: "disconnected"});
  await assert.rejects(joining, {code: "closed"});
  await assert.rejects(here.client.send("lobby", "more"), {code: "closed"});
});

test("A listener may close the client at any event.", async () => {
  for (const type of ["connecting", "open", "waiting"]) {
    const here = world();
    here.client.addEventListener("state", ({detail}) => detail.state === type && here.client.close());
    here.client.join("lobby");
    here.client.connect();
    here.socket?.accept();
    here.socket?.cut();
    assert.equal(here.clock.timers, 0, type);
    assert.equal(here.client.state, "closed");
  }
  await settle();
});

test("A wrong address closes the client and throws nothing.", () => {
  const here = world({
    WebSocket: class {
      constructor() {
        throw new SyntaxError("wrong");
      }
    },
  });
  here.client.connect();
  assert.deepEqual(here.of("state").at(-1), {state: "closed", code: 1000, reason: "wrong"});
  assert.equal(here.clock.timers, 0);
});
