/** The reader's rights in a room, the reasons why they can't send, and the check of their sign-in. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {SendState} from "../../../../chat/static/chat/page/composer/send-state.js";
import {SignInCheck} from "../../../../chat/static/chat/page/entrance/session-end.js";
import {PendingMessages} from "../../../../chat/static/chat/page/log/message-sender.js";
import {RoomAccess} from "../../../../chat/static/chat/page/moderation/room-access.js";
import {LENGTHS, ROLES, roomWords, span, speakingWords} from "../../../../chat/static/chat/page/shell/room-words.js";
import {FakeClock, keyOf, settle} from "../../support/helpers.js";

function access(frame = {}, {account = true} = {}) {
  const found = new RoomAccess({about: {}, account});
  found.received(frame);
  return found;
}

// --- What one may do ---

test("Before the server has told the role nothing is offered.", () => {
  const before = new RoomAccess({about: {title: "Tea", role: "owner"}, account: true});
  assert.deepEqual([before.moderates, before.owns, before.invites, before.leaves], [false, false, false, false]);
  assert.deepEqual(before.actions, []);
  assert.equal(before.about.title, "Tea");
});

test("The actions on a user depend on the reader's role and account.", () => {
  const moderate = ["mute10", "mute60", "unmute", "kick", "ban"];
  const cases = [
    [{role: "guest"}, {account: false}, []],
    [{role: "member"}, {}, ["direct"]],
    [{role: "moderator"}, {}, ["direct", ...moderate]],
    [{role: "owner"}, {}, ["direct", ...moderate, "moderator", "owner"]],
    [{role: "member", kind: "direct"}, {}, []],
  ];
  for (const [frame, page, expected] of cases) {
    assert.deepEqual(access(frame, page).actions, expected, frame.role);
  }
});

test("Each action has a word.", () => {
  for (const act of access({role: "owner"}).actions) assert.equal(typeof roomWords[act], "string");
  assert.deepEqual(Object.keys(ROLES), ["owner", "moderator", "member", "guest"]);
  assert.deepEqual(LENGTHS.at(-1), [null, "For good"]);
});

test("Into a private room its moderators invite, and only of one can a membership be ended.", () => {
  const {invites, leaves} = access({role: "moderator", kind: "private"});
  assert.deepEqual([invites, leaves], [true, true]);
  for (const kind of ["public", "members", "direct"]) {
    const other = access({role: "owner", kind});
    assert.deepEqual([other.invites, other.leaves], [false, false], kind);
  }
  assert.equal(access({role: "member", kind: "private"}).invites, false);
});

test("A role that is taken away is gone with the next event.", () => {
  const here = access({role: "moderator"});
  here.received({});
  assert.deepEqual([here.moderates, here.about.role], [false, "member"]);
});

// --- Whether one may speak ---

const later = (code, retryIn) => ({ref: "r1", retryIn, error: {code}});

test("Reasons against posting, the weightiest first.", () => {
  const speaking = new SendState();
  const why = (frame) => {
    const state = speaking.state(access(frame), 1_000);
    return [state.why, state.can];
  };
  assert.deepEqual(why({}), [null, true]);
  assert.deepEqual(why({slow: 30}), ["slow", true]);
  assert.deepEqual(why({readOnly: true, slow: 30}), ["read_only", false]);
  assert.deepEqual(why({readOnly: true, muted: 0}), ["muted", false]);
  assert.deepEqual(why({readOnly: true, muted: 0, archived: true}), ["archived", false]);
  assert.deepEqual(why({archived: true, closed: "deleted"}), ["deleted", false]);
  assert.deepEqual(why({readOnly: true, slow: 30, role: "moderator"}), [null, true]);
});

test("A mute ends by itself at its time, one for good does not.", () => {
  const speaking = new SendState();
  const muted = access({muted: 5_000});
  assert.deepEqual(speaking.state(muted, 4_999), {why: "muted", can: false, until: 5_000});
  assert.equal(speaking.state(muted, 5_000).can, true);
  assert.deepEqual(speaking.state(access({muted: 0}), 1e15), {why: "muted", can: false, until: null});
});

test("In slow mode one is told when one can speak again, and when what waits is sent.", () => {
  const speaking = new SendState();
  const slow = access({slow: 30});
  speaking.spoke(1_000);
  assert.deepEqual(speaking.state(slow, 2_000), {why: "paused", can: true, until: 31_000, slow: 30});
  speaking.later(later("slow_mode", 29_000), 2_000);
  const {why, until} = speaking.state(slow, 3_000);
  assert.deepEqual([why, until], ["waiting", 31_000]);
  speaking.settled("another");
  assert.equal(speaking.state(slow, 3_000).why, "waiting");
  speaking.settled("r1");
  speaking.spoke(31_100);
  assert.equal(speaking.state(slow, 62_000).why, "slow");
});

test("A message that was too fast is shown, a busy server is not: that passes.", () => {
  const speaking = new SendState();
  speaking.later(later("busy", 500), 0);
  assert.equal(speaking.state(access(), 1).why, null);
  speaking.later(later("too_many", 2_000), 0);
  assert.equal(speaking.state(access(), 1).why, "too_many");
  assert.equal(speaking.state(access(), 2_000).why, null);
});

test("Each reason has a sentence that is said and one that is shown.", () => {
  assert.deepEqual(speakingWords({why: "waiting", seconds: 12}), [
    "Slow mode: your message is sent in 12 s.",
    "Slow mode: sends in 12 s",
  ]);
  assert.equal(speakingWords({why: "muted", time: "14:05"})[1], "You may not speak here until 14:05.");
  assert.equal(speakingWords({why: "muted"})[1], "You may not speak here.");
  for (const why of ["deleted", "deactivated", "left", "archived", "read_only", "paused", "slow", "too_many"]) assert.ok(speakingWords({why})[0], why);
  assert.deepEqual(speakingWords({why: null}), ["", ""]);
  assert.deepEqual([span(119), span(120), span(7_200)], ["119 s", "2 min", "2 h"]);
});

test("A message that is held says why, until it is tried again or refused.", () => {
  const pendingMessages = new PendingMessages();
  pendingMessages.add({ref: "r1", content: "hi", at: 1});
  pendingMessages.hold("r1", "slow_mode");
  pendingMessages.hold("another", "slow_mode");
  assert.equal(pendingMessages.entries[0].held, "slow_mode");
  pendingMessages.fail("r1", "No.");
  assert.equal(pendingMessages.retry("r1").held, null);
});

// --- Who one is ---

const ANN = {username: "Ann", account: true, you: keyOf("Ann")};

/** A sign-in whose questions are answered one after another; null: the network fails. */
function doubted(...answers) {
  const clock = new FakeClock();
  const heard = [];
  const asked = [];
  const fetch = async (url) => {
    asked.push([url, clock.now()]);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === null) throw new TypeError("failed");
    return typeof answer === "number" ? {ok: false, status: answer} : {ok: true, json: async () => answer};
  };
  const on = {same: () => heard.push("same"), other: ({username}) => heard.push(username)};
  return {clock, heard, asked, signIn: new SignInCheck({url: "/whoami", you: ANN.you, on, fetch, clock, random: () => 0.5})};
}

test("After a second and a half the server is asked, once; the same person goes on.", async () => {
  const {signIn, clock, heard, asked} = doubted(ANN);
  signIn.check();
  signIn.check(); // another sign of the same
  clock.pass(1_499);
  assert.deepEqual(asked, []);
  clock.pass(1); // two signs of one thing are no reason to be slower
  await settle();
  assert.deepEqual([heard, asked.length], [["same"], 1]);
});

const NOBODY = {username: null, account: false, you: ""};

test("Nobody, somebody else, and another of one's name are others.", async () => {
  const others = [{username: "Bob", account: true, you: keyOf("Bob")}, {...ANN, account: false, you: "another"}];
  for (const who of [NOBODY, ...others]) {
    const {signIn, clock, heard} = doubted(who);
    signIn.check();
    clock.pass(1_500);
    await settle();
    assert.deepEqual(heard, [who.username]);
  }
});

test("An account that was renamed is still the same person.", async () => {
  const {signIn, clock, heard} = doubted({...ANN, username: "Anna"});
  signIn.check();
  clock.pass(1_500);
  await settle();
  assert.deepEqual(heard, ["same"]);
});

test("A server of the version before does not tell who it is, and is asked again.", async () => {
  const {signIn, clock, heard} = doubted({username: "Ann", account: true}, ANN);
  signIn.check();
  clock.pass(1_500);
  await settle();
  clock.pass(30_000);
  await settle();
  assert.deepEqual(heard, ["same"]);
});

test("A question without an answer is asked again, later and later.", async () => {
  const {signIn, clock, heard, asked} = doubted(null, 502, NOBODY);
  signIn.check();
  for (let round = 0; round < 20; round += 1) {
    clock.pass(500);
    await settle();
  }
  assert.deepEqual(heard, [null]);
  assert.deepEqual(asked.map(([, at]) => at), [1_500, 4_000, 7_500]);
});

test("A server that closes again and again is not asked in a circle; a user in the room starts over.", async () => {
  const {signIn, clock, asked} = doubted(ANN);
  const closed = async (ms) => {
    signIn.check();
    clock.pass(ms);
    await settle();
  };
  await closed(1_500);
  await closed(1_500);
  assert.equal(asked.length, 1);
  clock.pass(1_000);
  await settle();
  assert.equal(asked.length, 2);
  signIn.settled();
  await closed(1_500);
  assert.equal(asked.length, 3);
});
