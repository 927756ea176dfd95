/** The room's page: a ChatClient and a Timeline, and the views that show them. */

import {Attention} from "./attention.js";
import {ChatClient, newRef} from "./client.js";
import {Composer} from "./composer.js";
import {ConnectionView} from "./connection-view.js";
import {onFrame, sentence} from "./dom.js";
import {HistoryPages} from "./history.js";
import {LogView} from "./log-view.js";
import {PeopleView} from "./people-view.js";
import {ERROR} from "./protocol.js";
import {rowsOf} from "./rows.js";
import {Timeline} from "./timeline.js";
import {TypingPeople} from "./typing.js";
import {errorWords, typingWords, words} from "./words.js";

/** Pixels from the top at which older messages are fetched without being asked for. */
const NEAR_TOP = 200;

const $ = (id) => document.getElementById(id);
const config = JSON.parse($("chat-config").textContent);
const {room} = config;

const client = new ChatClient(socketUrl(), {
  storage: tabStorage(),
  // A tab that changes its name or room must not send under one what was written under another.
  storageKey: `chat.outbox ${room} ${config.username}`,
});
const timeline = new Timeline(config.username);
const history = new HistoryPages({
  client,
  room,
  timeline,
  onChange() {
    attention.hush(); // what was said before is no news
    drawLog();
  },
});
const typing = new TypingPeople();
let typingTimer = null;
let userList = {users: [], count: 0};

// --- Views ---

const attention = new Attention({log: $("log"), announcement: $("announcement")});

const log = new LogView({
  pane: $("log"),
  list: $("rows"),
  onFollow(following) {
    if (following) attention.atEnd();
    drawJump();
  },
});

const people = new PeopleView({
  panel: $("people"),
  list: $("people-list"),
  counts: document.querySelectorAll("[data-people-count]"),
  toggle: $("people-toggle"),
  close: $("people-close"),
});

const connection = new ConnectionView({
  box: $("connection"),
  said: $("connection-said"),
  shown: $("connection-shown"),
  button: $("connection-try"),
  onTry() {
    enter();
    client.connect();
  },
});

const composer = new Composer({
  form: $("composer"),
  field: $("composer-text"),
  count: $("composer-count"),
  button: $("composer-send"),
  onSend: say,
  onTyping: () => client.typing(room),
});

const drawPeople = onFrame(() => people.draw(userList, timeline.me));

const drawLog = onFrame(() => {
  log.draw(rowsOf(timeline), {me: timeline.me});
  drawOlder();
  $("older-failed").textContent = history.failed ? words.historyFailed : "";
  $("empty").hidden = !history.begun || timeline.messages.length + timeline.pending.length > 0;
});

/** The button is never disabled: a page on its way ignores it, and it keeps the focus for the next press. */
function drawOlder() {
  const hidden = !(history.begun && timeline.extensible);
  if (hidden && document.activeElement === $("older")) $("log").focus();
  $("older").hidden = hidden;
}

function drawJump() {
  $("jump").hidden = log.following;
  $("jump-count").textContent = attention.below ? words.newMessages(attention.below) : words.latest;
}

function drawTyping() {
  clearTimeout(typingTimer);
  const now = performance.now();
  $("typing").replaceChildren(...sentence(typingWords(typing.names(now))));
  if (typing.nextChange !== null) typingTimer = setTimeout(drawTyping, typing.nextChange - now);
}

// --- Saying something ---

function say(content) {
  const ref = newRef();
  timeline.addPending({ref, content, at: Date.now()});
  timeline.readUpTo = null; // who answers has read
  client.send(room, content, {ref});
  drawLog();
  log.follow();
}

$("rows").addEventListener("click", ({target}) => {
  const {action, ref} = target.dataset;
  if (!action) return;
  if (action === "retry") sayAgain(ref);
  else timeline.discard(ref);
  drawLog();
  composer.focus(); // the button that had the focus is going
});

function sayAgain(ref) {
  const entry = timeline.retry(ref);
  if (entry) client.send(room, entry.content, {ref});
}

client.addEventListener("sent", ({detail}) => {
  timeline.confirm(detail.ref, detail);
  drawLog();
});

client.addEventListener("refused", ({detail: {ref, error}}) => {
  const reason = errorWords(error);
  timeline.fail(ref, reason);
  attention.say(words.notSent(reason));
  drawLog();
});

// --- Hearing something ---

client.addEventListener("message", ({detail: message}) => {
  const [fresh] = timeline.add([message]);
  if (fresh && message.username !== timeline.me) attention.came({following: log.following});
  timeline.trim(log.following);
  stoppedTyping(message.username);
  drawLog();
  drawJump();
});

client.addEventListener("join", ({detail: {username}}) => {
  if (username !== timeline.me) timeline.joined(username);
  drawLog();
});

client.addEventListener("leave", ({detail: {username}}) => {
  if (username !== timeline.me) timeline.left(username);
  stoppedTyping(username);
  drawLog();
});

client.addEventListener("userList", ({detail}) => {
  userList = detail;
  drawPeople();
});

client.addEventListener("typing", ({detail: {username}}) => {
  if (username === timeline.me) return;
  typing.typed(username, performance.now());
  drawTyping();
});

function stoppedTyping(username) {
  typing.stopped(username);
  drawTyping();
}

// --- Looking and looking away ---

document.addEventListener("visibilitychange", () => {
  if (document.hidden) timeline.readUpTo = timeline.newest;
  else if (attention.unread === 0) timeline.readUpTo = null; // nothing to mark
  if (!document.hidden) attention.looked();
  drawLog();
});

$("jump").addEventListener("click", () => {
  log.follow();
  composer.focus();
});

$("older").addEventListener("click", () => history.older());
$("log").addEventListener(
  "scroll",
  () => {
    if ($("log").scrollTop < NEAR_TOP && !history.failed) history.older();
  },
  {passive: true},
);

// --- The connection ---

client.addEventListener("state", ({detail}) => {
  connection.draw(detail);
  $("log").dataset.connected = detail.state === "open";
});

client.addEventListener("welcome", ({detail: {username, seq}}) => {
  timeline.me = username;
  timeline.startAt(seq);
  history.begin();
  drawPeople();
});

client.addEventListener("reset", () => {
  history.reset();
  history.begin();
});

client.addEventListener("error", ({detail}) => {
  const reason = errorWords(detail);
  if (detail.command !== "join") {
    attention.say(reason);
    return;
  }
  client.close(); // a socket without a room is of no use to anybody
  connection.draw({state: "closed", reason});
  if (detail.code === ERROR.NAME_TAKEN || detail.code === ERROR.NAME_NEEDED) askForName(reason);
});

function askForName(reason) {
  $("rename-reason").textContent = reason;
  if (!$("rename").open) $("rename").showModal();
}

function enter() {
  client.join(room);
}

function socketUrl() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${config.path}`;
}

/** Storage that a reload of this tab finds again; null where the browser forbids it. */
function tabStorage() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

/** Safari lays the keyboard over the page instead of making the page smaller. */
function fitAboveKeyboard() {
  const {height, scale} = window.visualViewport;
  // Zooming in makes the viewport smaller too, and must not squeeze the page.
  document.documentElement.style.setProperty("--visible-height", `${Math.round(height * scale)}px`);
}

window.visualViewport?.addEventListener("resize", fitAboveKeyboard);

for (const entry of client.pending(room)) timeline.addPending(entry);
drawLog();
enter();
client.connect();
if (matchMedia("(pointer: fine)").matches) composer.focus();
