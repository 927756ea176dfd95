/** The room's page: a ChatClient and a Timeline, the views that show them, and what connects them. */

import {Actions} from "./actions.js";
import {Attention} from "./attention.js";
import {ChatClient} from "./client.js";
import {Company} from "./company.js";
import {Composer} from "./composer.js";
import {copyAsSaid} from "./copying.js";
import {elements, onFrame, write} from "./dom.js";
import {Drafting} from "./drafting.js";
import {Entrance} from "./entrance.js";
import {Exits} from "./exits.js";
import {RowFocus} from "./focus.js";
import {turn} from "./folded.js";
import {Governing} from "./governing.js";
import {HistoryPages} from "./history.js";
import {Intent} from "./intent.js";
import {Journey} from "./journey.js";
import {Keeping} from "./keeping.js";
import {fitAboveKeyboard, keepDialogs, onSlash} from "./keyboard.js";
import {LogEdges} from "./log-edges.js";
import {LogView} from "./log-view.js";
import {Quotes} from "./quotes.js";
import {Reading} from "./reading.js";
import {rowsOf} from "./rows.js";
import {Saying} from "./saying.js";
import {SearchPanel} from "./search-panel.js";
import {Searching} from "./searching.js";
import {openStore} from "./store.js";
import {Timeline} from "./timeline.js";
import {Toolbar} from "./toolbar.js";
import {errorWords, words} from "./words.js";

const $ = (id) => document.getElementById(id);
const config = JSON.parse($("chat-config").textContent);
const {room, username, you, path, lasting, page} = config;

// --- What is known ---

let {epoch} = page; // which life of the room the ids are of
const store = openStore({owner: you, room});
const client = new ChatClient(socketUrl(), {you, store});
const keeping = new Keeping({you});
const timeline = new Timeline(username, you);
const quotes = new Quotes({client, room, timeline, onChange: () => drawLog()});
const searching = new Searching({client, room, onChange: () => search.draw()});
const actions = new Actions({client, room, timeline, onChange: () => drawLog(), onRefused: takeBack});
const history = new HistoryPages({
  client,
  room,
  timeline,
  begun: true, // what the page brought
  onChange() {
    attention.hush(); // what was said before is no news
    drawLog();
  },
});

// --- What is shown ---

const attention = new Attention({log: $("log"), announcement: $("announcement"), toast: $("toast")});

const log = new LogView({
  pane: $("log"),
  list: $("rows"),
  onFollow(following) {
    if (following) attention.atEnd();
    drawLog();
  },
});

const saying = new Saying({client, room, timeline, attention, onChange: () => drawLog()});

const reading = new Reading({
  read: page.read || null, // 0: was never here
  timeline,
  log,
  attention,
  tell: (seq) => lasting && client.read(room, seq),
});

const journey = new Journey({history, timeline, log, attention, draw: () => drawNow()});

const ends = elements("older", "olderFailed", "newer", "newerBox", "newerFailed", "empty");
const pills = elements("jump", "jumpCount", "firstNew", "firstNewCount");
const edges = new LogEdges({
  log,
  elements: {pane: $("log"), ...ends, ...pills},
  on: {
    older: () => (history.begun ? history.older() : history.begin()),
    newer: () => history.newer(),
    firstNew: () => journey.toFirstAfter(reading.line),
    jump() {
      journey.toLive();
      composer.focus();
    },
  },
});

const rowFocus = new RowFocus({list: $("rows"), onLeave: () => composer.focus(), onTop: () => history.older()});

const toolbar = new Toolbar({
  list: $("rows"),
  rowOf: (node) => log.rowOf(node),
  context: () => ({lasting, moderates: governing.moderates}),
  on: {
    reply: (message) => intent.reply(message),
    edit: (message) => intent.edit(message),
    remove: (message) => actions.remove(message),
    report: (message) => governing.report(message),
    react: (message, emoji, on) => actions.react(message, emoji, on),
  },
});

const composer = new Composer({
  form: $("composer"),
  field: $("composer-text"),
  count: $("composer-count"),
  button: $("composer-send"),
  hint: $("composer-hint"),
  on: {
    send,
    changed: () => drafting.changed(),
    typing: () => intent.kind !== "edit" && client.typing(room),
    up: editLast,
    escape: () => intent.end(),
  },
});

const intent = new Intent({
  composer,
  ...elements("intentBox", "intentLabel", "intentText", "intentCancel", "sendWord"),
  onChange() {
    drafting.changed();
    drawLog();
  },
});

const drafting = new Drafting({
  drafts: keeping.drafts,
  room,
  intent,
  find: quotes.of,
  epoch: () => epoch,
  tell: () => attention.tell(words.draftIsNew),
});

const governing = new Governing({
  client,
  config,
  composer,
  me: () => timeline.me,
  tell: (sentence) => attention.tell(sentence),
  titled: (title) => attention.rename(title),
  onChange() {
    company.draw();
    drawLog();
  },
});

const search = new SearchPanel({
  searching,
  elements: elements(
    ...["search", "searchToggle", "searchClose", "searchForm"],
    ...["searchText", "searchStatus", "searchResults", "searchMore"],
  ),
  onChoose(id) {
    search.stepAside();
    journey.to(id);
  },
});

const company = new Company({
  client,
  timeline,
  elements: {
    ...elements("people", "peopleList", "peopleToggle", "peopleClose", "typing"),
    counts: document.querySelectorAll("[data-people-count]"),
  },
  actions: () => governing.actions,
  act: (act, name) => governing.act(act, name),
  onChange: () => drawLog(),
});

const entrance = new Entrance({
  client,
  room,
  page,
  elements: elements(
    ...["connection", "connectionSaid", "connectionShown", "connectionTry"],
    ...["rename", "renameReason"],
  ),
});

const exits = new Exits({client, config, entrance, governing, left: () => company.forget(), conceal, forget: endSignIn});
keeping.watch(() => exits.doubt());

const drawLog = onFrame(drawNow);
/** Keys of long messages that the reader unfolded. */
const unfolded = new Set();

function drawNow() {
  const marked = intent.message?.id ?? null;
  const rows = rowsOf(timeline, {quoteOf: quotes.of, line: reading.line, marked});
  log.draw(rows, {live: timeline.window === null, me: timeline.me, lasting, unfolded});
  $("log").ariaBusy = String(history.loading === "around");
  toolbar.refresh();
  rowFocus.refresh();
  drafting.settle();
  reading.see();
  lookAround();
}

/** What depends on the reader's place. */
function lookAround() {
  log.keepPlace(() => edges.draw({timeline, history, attention, line: reading.line}));
  if (!entrance.entered) return;
  journey.extend();
  quotes.fetch();
}

// --- Saying something ---

function send(text) {
  const {kind, message} = intent.take();
  drafting.save(); // not to be sent again after a crash
  if (kind === "edit") {
    actions.edit(message, text);
    return;
  }
  reading.answered();
  saying.say(text, message?.id);
  journey.toLive();
}

function editLast() {
  const last = lasting ? timeline.lastOwn : undefined;
  if (!last) return;
  intent.edit(last);
  log.nodeOf(last.id)?.scrollIntoView({block: "nearest"});
}

/** The server refused a change: its reason is told, and a text is not lost. */
function takeBack({kind, message, content, reason}) {
  attention.tell(reason);
  if (kind === "edit" && !drafting.ended && composer.text === "" && intent.kind === "say") intent.edit(message, content);
}

const PRESSED = {
  more: (node) => toolbar.toggle(node),
  jump: (node, {to}) => journey.to(Number(to)),
  unfold(node, _, button) {
    const {key} = log.rowOf(node);
    if (turn(node, button)) unfolded.add(key);
    else unfolded.delete(key);
  },
  react(node, {emoji}, button) {
    actions.react(log.rowOf(node).message, emoji, button.ariaPressed !== "true");
  },
  retry(node, {ref}) {
    saying.retry(ref);
    composer.focus(); // the button that had the focus is going
  },
  reword(node, {ref}) {
    const refused = saying.discard(ref);
    composer.text = [refused.content, composer.text].filter(Boolean).join("\n");
    composer.focus();
  },
  discard(node, {ref}) {
    saying.discard(ref);
    composer.focus();
  },
};

$("rows").addEventListener("click", ({target}) => {
  const button = target.closest("[data-act]");
  const act = PRESSED[button?.dataset.act];
  act?.(button.closest(".rows > li"), button.dataset, button);
});

// --- Hearing something ---

for (const type of ["message", "edit", "delete", "react"]) {
  client.addEventListener(type, ({detail}) => heard(detail));
}

function heard(frame) {
  const fresh = timeline.heard(frame);
  for (const part of [history, quotes, searching]) part.heard(frame);
  if (fresh) came(frame);
  if (frame.type === "delete" || frame.deleted) {
    attention.gone(frame.id);
    drafting.forget(frame.id);
  }
  drawLog();
}

function came({id, username: author, own, deleted}) {
  if (!own && !deleted) attention.came({id, following: log.following});
  timeline.trim(log.following);
  company.spoke(author);
}

// --- Looking and looking away ---

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    reading.lookAway();
    client.tellNow(); // it may never be looked at again
  } else attention.looked();
  drawLog();
});

// The first is before the next page is asked for, which may show how much is unread; not all browsers have it.
for (const type of ["beforeunload", "pagehide"]) window.addEventListener(type, () => client.tellNow());

client.addEventListener("read", ({detail}) => {
  reading.readElsewhere(detail.seq);
  drawLog();
});

$("log").addEventListener("scroll", onFrame(lookAround), {passive: true});

// --- The connection ---

client.addEventListener("state", ({detail}) => {
  $("log").dataset.connected = detail.state === "open";
});

client.addEventListener("welcome", ({detail}) => {
  timeline.me = detail.username; // an account may have been renamed meanwhile
  write($("my-name"), detail.username);
  $("my-name").parentElement.title = detail.username;
  timeline.startAt(detail.seq);
  epoch = detail.epoch;
  if (detail.read) reading.readElsewhere(detail.read);
  history.begin();
  searching.again();
  company.draw();
  drawLog();
});

client.addEventListener("reset", () => {
  forget();
  journey.toLive();
  history.begin();
});

/** The log is of another life, or not for these eyes any more. */
function forget() {
  for (const part of [quotes, reading, searching, history]) part.reset();
  drafting.forget(intent.message?.id);
}

/** Nothing of what the reader wrote stays in this browser. */
function endSignIn() {
  client.forget();
  drafting.end();
  saying.forget();
}

/** The reader may not see the room any more. Who comes back starts over. */
function conceal() {
  document.querySelector(".room").dataset.concealed = "";
  search.stepAside();
  forget();
  drawNow();
}

client.addEventListener("error", ({detail}) => {
  if (detail.command === undefined) attention.tell(errorWords(detail)); // the others have somebody who tells
});

function socketUrl() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${path}`;
}

// --- The beginning: what the page brought is there before the socket is ---

timeline.latest({messages: client.marked(page.messages), more: page.more});
attention.hush();
drafting.restore();
drawNow();
entrance.enter();
saying.restore();
fitAboveKeyboard();
keepDialogs();
copyAsSaid($("rows"));
onSlash(() => search.open());
if (matchMedia("(pointer: fine)").matches) composer.focus();
