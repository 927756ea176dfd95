import assert from "node:assert/strict";
import test from "node:test";

import {MessageSender, PendingMessages} from "../../../../chat/static/chat/page/log/message-sender.js";
import {errorWords} from "../../../../chat/static/chat/page/shell/words.js";

/** A client that keeps what it is told to send, and what was refused. */
class Client extends EventTarget {
  sent = [];
  kept = [];
  restored = Promise.resolve();

  send(room, content, {ref, replyTo}) {
    this.sent.push({room, content, ref, replyTo});
  }

  failed() {
    return this.kept;
  }

  discard(ref) {
    this.kept = this.kept.filter((entry) => entry.ref !== ref);
  }

  refuse({ref, room, content, replyTo}, error) {
    this.kept.push({ref, room, content, replyTo, failed: error});
    this.dispatchEvent(Object.assign(new Event("refused"), {detail: {ref, error}}));
  }
}

function messageSender() {
  const client = new Client();
  const told = [];
  const notifications = {say: (text) => told.push(text)};
  const timeline = {pendingMessages: new PendingMessages(), live: {messages: []}};
  return {client, told, timeline, messageSender: new MessageSender({client, room: "lobby", timeline, notifications, onChange() {}})};
}

for (const [code, same] of [["refused", true], ["ref_reused", false]]) {
  test(`A message that was refused with ${code} is tried again under ${same ? "its" : "another"} ref.`, () => {
    const here = messageSender();
    here.messageSender.say("hi", 7);
    const [first] = here.client.sent;
    here.client.refuse(first, {code, field: code === "ref_reused" ? "ref" : undefined, message: "ref: you used it"});
    assert.equal(here.told.length, 1);
    here.messageSender.retry(first.ref);
    const second = here.client.sent[1];
    assert.deepEqual([second.content, second.replyTo, second.ref === first.ref], ["hi", 7, same]);
    assert.equal(here.client.kept.length, same ? 1 : 0);
    assert.equal(here.timeline.pendingMessages.entries.length, 1, "it stands in the log once");
  });
}

test("A ref is no word for people.", () => {
  assert.equal(
    errorWords({code: "ref_reused", field: "ref", message: "ref: you used it here for something else"}),
    "The server took it for another one of yours: try again.",
  );
});
