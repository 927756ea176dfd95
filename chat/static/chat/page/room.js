/** The room's page: a ChatClient and a Timeline, the views that show them, and what connects them. */

import {ChatClient} from "../client/client.js";
import {Messages} from "../client/messages.js";
import {openStore} from "../client/store.js";
import {ComposerMode} from "./composer/composer-mode.js";
import {Composer} from "./composer/composer.js";
import {DraftSync} from "./composer/drafts.js";
import {BrowserData} from "./entrance/browser-data.js";
import {Entrance} from "./entrance/entrance.js";
import {SessionEnd} from "./entrance/session-end.js";
import {HistoryPages, Quotes} from "./log/history.js";
import {LogView} from "./log/log-view.js";
import {MessageSender} from "./log/message-sender.js";
import {LogEdges, Navigation} from "./log/navigation.js";
import {Notifications} from "./log/notifications.js";
import {MessageActions} from "./log/optimistic-changes.js";
import {ReadPosition} from "./log/read-position.js";
import {copyAsSaid, RowButtons, RowFocus} from "./log/row-interaction.js";
import {rowsOf} from "./log/rows.js";
import {Timeline} from "./log/timeline.js";
import {Toolbar} from "./log/toolbar.js";
import {ModerationTools} from "./moderation/moderation.js";
import {People} from "./people/people.js";
import {Search, SearchPanel} from "./search/search.js";
import {onFrame, write} from "./shell/dom.js";
import {fitAboveKeyboard, keepDialogs, onSlash} from "./shell/keyboard.js";
import {errorWords, words} from "./shell/words.js";

const $ = (id) => document.getElementById(id);
const config = JSON.parse($("chat-config").textContent);
const {room, username, you, path, lasting, page} = config;

// --- State ---

let {epoch} = page; // the epoch that the ids belong to
const store = openStore({owner: you, room});
const client = new ChatClient(socketUrl(), {you, store});
const browserData = new BrowserData({you});
const messages = new Messages();
const timeline = new Timeline(username, you, messages);
const quotes = new Quotes({client, room, timeline, messages, onChange: () => drawLog()});
const search = new Search({client, room, messages, onChange: () => searchPanel.draw()});
const actions = new MessageActions({client, room, timeline, onChange: () => drawLog(), onRefused: takeBack});
const history = new HistoryPages({
  client,
  room,
  timeline,
  messages,
  begun: true, // the page's HTML has the latest messages
  onChange() {
    notifications.hush(); // old messages are not announced
    drawLog();
  },
});

// --- Views ---

const notifications = new Notifications({log: $("log"), announcement: $("announcement"), toast: $("toast")});

const log = new LogView({
  pane: $("log"),
  list: $("rows"),
  onFollow(following) {
    if (following) notifications.atEnd();
    drawLog();
  },
});

const messageSender = new MessageSender({client, room, timeline, notifications, onChange: () => drawLog()});

const readPosition = new ReadPosition({
  read: page.read || null, // 0: never joined before
  timeline,
  log,
  notifications,
  tell: (seq) => lasting && client.read(room, seq),
});

const navigation = new Navigation({history, timeline, log, notifications, draw: () => drawNow()});

const edges = new LogEdges({
  log,
  pane: $("log"),
  on: {
    older: () => (history.begun ? history.older() : history.begin()),
    newer: () => history.newer(),
    firstNew: () => navigation.toFirstAfter(readPosition.line),
    jump() {
      navigation.toLive();
      composer.focus();
    },
  },
});

const rowFocus = new RowFocus({list: $("rows"), onLeave: () => composer.focus(), onTop: () => history.older()});

const toolbar = new Toolbar({
  list: $("rows"),
  rowOf: (node) => log.rowOf(node),
  context: () => ({lasting, moderates: moderationTools.moderates}),
  on: {
    reply: (message) => mode.reply(message),
    edit: (message) => mode.edit(message),
    remove: (message) => actions.remove(message),
    report: (message) => moderationTools.report(message),
    react: (message, emoji, on) => actions.react(message, emoji, on),
  },
});

const rowButtons = new RowButtons({
  list: $("rows"),
  log,
  toolbar,
  navigation,
  actions,
  messageSender,
  composer: () => composer,
});

const composer = new Composer({
  form: $("composer"),
  field: $("composer-text"),
  count: $("composer-count"),
  button: $("composer-send"),
  hint: $("composer-hint"),
  on: {
    send,
    changed: () => draftSync.changed(),
    typing: () => mode.kind !== "edit" && client.typing(room),
    up: editLast,
    escape: () => mode.end(),
  },
});

const mode = new ComposerMode({
  composer,
  onChange() {
    draftSync.changed();
    drawLog();
  },
});

const draftSync = new DraftSync({
  drafts: browserData.drafts,
  room,
  mode,
  find: quotes.of,
  epoch: () => epoch,
  tell: () => notifications.tell(words.draftIsNew),
});

const moderationTools = new ModerationTools({
  client,
  config,
  composer,
  me: () => timeline.me,
  tell: (sentence) => notifications.tell(sentence),
  titled: (title) => notifications.rename(title),
  onChange() {
    people.draw();
    drawLog();
  },
});

const searchPanel = new SearchPanel({
  model: search,
  onChoose(id) {
    searchPanel.stepAside();
    navigation.to(id);
  },
});

const people = new People({
  client,
  timeline,
  actions: () => moderationTools.actions,
  act: (act, name) => moderationTools.act(act, name),
  onChange: () => drawLog(),
});

const entrance = new Entrance({client, room, page});

const sessionEnd = new SessionEnd({
  client,
  config,
  entrance,
  moderationTools,
  left: () => people.forget(),
  conceal,
  forget: endSignIn,
});
browserData.watch(() => sessionEnd.doubt());

const drawLog = onFrame(drawNow);
function drawNow() {
  const marked = mode.message?.id ?? null;
  const rows = rowsOf(timeline, {quoteOf: quotes.of, line: readPosition.line, marked});
  log.draw(rows, {live: timeline.window === null, me: timeline.me, lasting, unfolded: rowButtons.unfolded});
  $("log").ariaBusy = String(history.loading === "around");
  toolbar.refresh();
  rowFocus.refresh();
  draftSync.settle();
  readPosition.see();
  lookAround();
}

/** Draw and fetch by the reader's place in the log. */
function lookAround() {
  log.keepPlace(() => edges.draw({timeline, history, notifications, line: readPosition.line}));
  if (!entrance.entered) return;
  navigation.extend();
  quotes.fetch();
}

// --- Sending ---

function send(text) {
  const {kind, message} = mode.take();
  draftSync.save(); // or it would be sent again after a crash
  if (kind === "edit") {
    actions.edit(message, text);
    return;
  }
  readPosition.answered();
  messageSender.say(text, message?.id);
  navigation.toLive();
}

function editLast() {
  const last = lasting ? timeline.lastOwn : undefined;
  if (!last) return;
  mode.edit(last);
  log.nodeOf(last.id)?.scrollIntoView({block: "nearest"});
}

/** The server refused a change: show the reason, and don't lose the text. */
function takeBack({kind, message, content, reason}) {
  notifications.tell(reason);
  if (kind === "edit" && !draftSync.ended && composer.text === "" && mode.kind === "say") mode.edit(message, content);
}

// --- Incoming frames ---

for (const type of ["message", "edit", "delete", "react"]) {
  client.addEventListener(type, ({detail}) => received(detail));
}

function received(frame) {
  const fresh = timeline.received(frame);
  search.received(frame);
  if (fresh) came(frame);
  if (frame.type === "delete" || frame.deleted) {
    notifications.gone(frame.id);
    draftSync.forget(frame.id);
  }
  drawLog();
}

function came({id, username: author, own, deleted}) {
  if (!own && !deleted) notifications.came({id, following: log.following});
  timeline.trim(log.following);
  people.spoke(author);
}

readPosition.watch(client, () => drawLog());
$("log").addEventListener("scroll", onFrame(lookAround), {passive: true});

// --- The connection ---

client.addEventListener("state", ({detail}) => {
  $("log").dataset.connected = detail.state === "open";
});

client.addEventListener("welcome", ({detail}) => {
  timeline.me = detail.username; // the account may have been renamed meanwhile
  write($("my-name"), detail.username);
  $("my-name").parentElement.title = detail.username;
  timeline.startAt(detail.seq);
  epoch = detail.epoch;
  if (detail.read) readPosition.readElsewhere(detail.read);
  history.begin();
  search.again();
  people.draw();
  drawLog();
});

client.addEventListener("reset", () => {
  forget();
  navigation.toLive();
  history.begin();
});

/** The log has a new epoch, or the reader may not see it any more. */
function forget() {
  for (const part of [quotes, readPosition, search, history]) part.reset();
  draftSync.forget(mode.message?.id);
}

/** Remove all the reader's texts from this browser. */
function endSignIn() {
  client.forget();
  draftSync.end();
  messageSender.forget();
}

/** The reader may not see the room any more. A return starts over. */
function conceal() {
  document.querySelector(".room").dataset.concealed = "";
  searchPanel.stepAside();
  forget();
  drawNow();
}

client.addEventListener("error", ({detail}) => {
  if (detail.command === undefined) notifications.tell(errorWords(detail)); // the callers of commands report the others
});

function socketUrl() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${path}`;
}

// --- Start: the messages in the page's HTML are shown before the socket is open ---

timeline.latest({messages: client.marked(page.messages), more: page.more});
notifications.hush();
draftSync.restore();
drawNow();
entrance.enter();
messageSender.restore();
fitAboveKeyboard();
keepDialogs();
copyAsSaid($("rows"));
onSlash(() => searchPanel.open());
if (matchMedia("(pointer: fine)").matches) composer.focus();
