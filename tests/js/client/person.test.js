/** The server tells authors by keys: two people may have one name, and one person two. */

import assert from "node:assert/strict";
import {readdirSync, readFileSync} from "node:fs";
import {test} from "node:test";

import {rowsOf} from "../../../chat/static/chat/page/log/rows.js";
import {Timeline} from "../../../chat/static/chat/page/log/timeline.js";
import {joined, keyOf, settle, world} from "../support/helpers.js";

/** The client's last event of a type. */
const last = (here, type) => here.of(type).at(-1);
const thumb = (...people) => ({
  ...{emoji: "👍", count: people.length},
  ...{usernames: people.map(([name]) => name), by: people.map(([, key]) => key)},
});

test("A message is own by its key, not by its name.", () => {
  const here = joined();
  here.socket.message(1, {username: "Ann"});
  assert.equal(last(here, "message").own, true);
  here.socket.message(2, {username: "Ann", by: "a later guest"});
  assert.equal(last(here, "message").own, false);
  here.socket.message(3, {username: "Anna", by: keyOf("Ann")});
  assert.equal(last(here, "message").own, true);
});

test("A message without a key is nobody's own: not of a bare name, nor from a server of the version before.", () => {
  for (const you of [undefined, "", keyOf("Ann")]) {
    const here = world();
    here.client.join("lobby");
    here.client.connect();
    here.socket.accept();
    here.socket.say({type: "welcome", room: "lobby", username: "Ann", you, seq: 0, epoch: "e", resumed: false});
    for (const by of [undefined, ""]) {
      here.socket.message(here.of("message").length + 1, {username: "Ann", by});
      assert.equal(last(here, "message").own, false);
    }
  }
});

test("An account that is renamed while it is here keeps its own.", () => {
  const here = joined();
  here.socket.cut();
  here.clock.pass(30_000);
  here.socket.accept();
  here.socket.welcome({username: "Anna", you: keyOf("Ann"), resumed: true});
  here.socket.message(1, {username: "Ann", by: keyOf("Ann")});
  here.socket.message(2, {username: "Anna", by: keyOf("Ann")});
  here.socket.message(3, {username: "Ann", by: "who took the name"});
  assert.deepEqual(here.of("message").map(({own}) => own), [true, true, false]);
});

test("A page's first messages, history and search results are marked the same way.", async () => {
  const messages = () => [
    {id: 1, seq: 1, username: "Ann", by: keyOf("Ann"), content: "a"},
    {id: 2, seq: 2, username: "Ann", by: "another", content: "b", reactions: [thumb(["Ann", "another"])]},
    {id: 3, seq: 3, username: "Ann", content: "c"},
  ];
  const owns = (all) => all.map(({own}) => own);
  assert.deepEqual(owns(world({you: keyOf("Ann")}).client.marked(messages())), [true, false, false]);
  const here = joined();
  const pages = [here.client.history("lobby"), here.client.search("lobby", "a")];
  for (const [type, answer] of [["history", "history"], ["search", "found"]]) {
    const {ref} = here.socket.last(type);
    here.socket.say({type: answer, room: "lobby", messages: messages(), more: false, timestamp: 1, ref});
  }
  for (const {messages: answered} of await Promise.all(pages)) assert.deepEqual(owns(answered), [true, false, false]);
});

test("An emoji is own by its key, in each kind of frame that has some.", () => {
  const reactions = () => [thumb(["Ann", "another"], ["Anna", keyOf("Ann")]), thumb(["Ann", "another"])];
  const here = joined();
  here.socket.message(1, {reactions: reactions()});
  here.socket.change("react", 1, 2, {reactions: reactions()});
  here.socket.change("edit", 1, 3, {content: "x", reactions: reactions()});
  for (const type of ["message", "react", "edit"]) {
    const [mine, theirs] = last(here, type).reactions;
    assert.deepEqual([mine.own, mine.others, theirs.own, theirs.others], [true, ["Ann"], false, ["Ann"]], type);
  }
  here.socket.change("react", 1, 4, {reactions: [{emoji: "👍", usernames: ["Ann"], count: 1}]});
  assert.equal(last(here, "react").reactions[0].own, false, "of a server of the version before");
});

test("Somebody else of the reader's name comes, types, goes and is in the list as another.", () => {
  const here = joined();
  for (const type of ["join", "leave", "typing"]) {
    here.socket.say({type, room: "lobby", username: "Ann", by: "another", timestamp: 1});
    assert.equal(last(here, type).own, false);
    here.socket.say({type, room: "lobby", username: "Ann", by: keyOf("Ann"), timestamp: 1});
    assert.equal(last(here, type).own, true);
  }
  here.socket.say({type: "userList", room: "lobby", users: ["Bob", "Ann"], count: 2, timestamp: 1});
  assert.equal(last(here, "userList").own, 1);
  here.socket.say({type: "userList", room: "lobby", users: ["Bob"], count: 1, timestamp: 1});
  assert.equal(last(here, "userList").own, -1);
});

test("Two people of one name do not stand under one heading, nor one person under the name before.", () => {
  const timeline = new Timeline("Ann", "k1");
  const said = (id, username, by) => ({id, seq: id, username, by, own: by === "k1", content: "x", timestamp: id});
  const messages = [said(1, "Ann", "k1"), said(2, "Ann", "k1"), said(3, "Ann", "k2"), said(4, "Anna", "k2"), said(5, "Ann")];
  timeline.latest({messages, more: false});
  timeline.pendingMessages.add({ref: "r", content: "y", at: 6});
  const shown = rowsOf(timeline).filter(({kind}) => kind !== "day");
  assert.deepEqual(shown.map(({continued}) => continued), [false, true, false, false, false, false]);
  timeline.latest({messages: [said(6, "Ann", "k1")], more: false});
  assert.equal(rowsOf(timeline).at(-1).continued, true);
});

test("A later guest's message of the same name is not taken for a pending one.", async () => {
  const timeline = new Timeline("Ann", "k1");
  timeline.pendingMessages.add({ref: "r", content: "hi", at: 1});
  timeline.received({type: "message", id: 1, seq: 1, username: "Ann", by: "k2", own: false, content: "hi", timestamp: 2});
  assert.equal(timeline.pending.length, 1);
  timeline.confirm("r", {id: 2, seq: 2, timestamp: 3});
  await settle();
  assert.deepEqual(timeline.messages.map(({own}) => own), [false, true]);
  assert.equal(timeline.lastOwn.id, 2);
});

// --- No name decides ---

const folder = new URL("../../../chat/static/chat/", import.meta.url);
/** A name compared with anything but nothing, or looked up in a list. */
const COMPARED = [
  /(?:username|author|\bme)\s*[!=]==(?!\s*(?:null|undefined))/,
  /[!=]==\s*(?:[\w#]+\.)*(?:username|author|me)\b/,
  /\.(?:includes|indexOf|has|find\w*)\((?:[\w#]+\.)*(?:username|author|me)\)/,
];

test("No module decides by a name whose something is.", () => {
  const found = readdirSync(folder, {recursive: true})
    .filter((name) => name.endsWith(".js"))
    .flatMap((name) => readFileSync(new URL(name, folder), "utf8").split("\n").map((line) => `${name}: ${line.trim()}`))
    .filter((line) => COMPARED.some((pattern) => pattern.test(line)));
  // Its place in the list of who is here is what the welcome's name is for.
  assert.deepEqual(found, ["client/person.js: return Object.assign(frame, {own: frame.users.indexOf(username)});"]);
});
