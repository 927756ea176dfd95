/** Texts are mended as the server mends them: the cases are those of tests/unit/protocol/test_text.py. */

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";

import {LIMIT} from "../../../chat/static/chat/client/protocol.js";
import {isBlank, mended} from "../../../chat/static/chat/client/text.js";
import {cleaned} from "../../../chat/static/chat/page/composer/composer.js";
import {joined} from "../support/helpers.js";

const cases = JSON.parse(readFileSync(new URL("../../support/texts.json", import.meta.url), "utf8"));

test("Invisible characters are dropped, converted or closed, once and for all.", () => {
  for (const [text, right] of cases.mended) {
    assert.equal(mended(text, LIMIT.CONTENT), right, JSON.stringify(text));
    assert.equal(mended(right, LIMIT.CONTENT), right, JSON.stringify(right));
  }
});

test("A text that would be too long with all its ends has no bidi controls at all.", () => {
  for (const [text, limit, right] of cases.limits) assert.equal(mended(text, limit), right, JSON.stringify(text));
});

test("Blank is what draws nothing; private and unassigned characters draw something.", () => {
  for (const text of cases.blank) assert.ok(isBlank(text), JSON.stringify(text));
  for (const text of cases.shown) assert.ok(!isBlank(text), JSON.stringify(text));
});

test("The page shows the user's own message as it is sent.", () => {
  assert.equal(cleaned("\n \r\n\ufeffone\x85two\u202ethree \n"), "one\ntwo\u202ethree\u202c");
  assert.equal(cleaned("\x00 \u2028 \ufeff"), "");
});

test("A message, an edit and a search are mended before they are sent; what is blank is not sent.", async () => {
  const {client, socket} = joined();
  client.send("lobby", "a\x9bb\r\nc\u2066");
  assert.equal(socket.last("message").content, "ab\nc\u2066\u2069");
  assert.equal(client.pending("lobby")[0].content, "ab\nc\u2066\u2069");
  client.search("lobby", "te\xada");
  assert.equal(socket.last("search").query, "tea");
  await assert.rejects(client.send("lobby", "\u2800\u200b"), {code: "bad_field"});
  await assert.rejects(client.edit("lobby", 1, "\x85\ufeff"), {code: "bad_field"});
});
