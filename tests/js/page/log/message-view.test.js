/** Long texts are folded; keys of input methods and phones; what the stylesheet asks of each row. */

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";

import {isLong} from "../../../../chat/static/chat/page/log/message-view.js";
import {EnterKey, isComposing} from "../../../../chat/static/chat/page/shell/keyboard.js";

test("A text of many lines, or of lines without an end, is long; a paragraph is not.", () => {
  for (const text of ["\n".repeat(3_900), "x".repeat(4_000), "many words ".repeat(300), "a\n".repeat(30), "😀".repeat(1_000)]) {
    assert.ok(isLong(text), text.slice(0, 20));
  }
  for (const text of ["", "hello", "a\nb\nc", "x".repeat(1_000), "line\n".repeat(20)]) assert.ok(!isLong(text), text);
});

test("A key is the input method's by its flag, or by its code in Safari.", () => {
  assert.ok(isComposing({isComposing: true, keyCode: 13}));
  assert.ok(isComposing({isComposing: false, keyCode: 229}));
  assert.ok(!isComposing({isComposing: false, keyCode: 13}));
});

/** An Enter key of a device for which these media queries hold. */
function enterOf(...holding) {
  globalThis.matchMedia = (query) => ({matches: query.split(" and ").every((part) => holding.includes(part))});
  const field = new EventTarget();
  let changes = 0;
  const enter = new EnterKey(field, {onChange: () => (changes += 1)});
  const press = (code) => field.dispatchEvent(Object.assign(new Event("keydown"), {code}));
  return {enter, press, changes: () => changes};
}

test("Enter breaks the line on a phone, until a key of a real keyboard comes.", () => {
  const {enter, press, changes} = enterOf("(pointer: coarse)", "(hover: none)");
  assert.ok(enter.breaksLine);
  for (const code of ["", "KeyA", "Enter", "Backspace", "Space"]) press(code);
  assert.deepEqual([enter.breaksLine, changes()], [true, 0]);
  press("ShiftLeft");
  press("ArrowUp");
  assert.deepEqual([enter.breaksLine, changes()], [false, 1]);
});

test("Enter sends where there is a mouse: on a laptop with a touch screen, on a tablet with a trackpad.", () => {
  assert.ok(!enterOf("(pointer: fine)", "(hover: hover)", "(any-pointer: fine)").enter.breaksLine);
  assert.ok(!enterOf("(pointer: coarse)", "(hover: none)", "(any-pointer: fine)").enter.breaksLine);
});

test("No selector looks from a row, or from around the rows, into what is within: each message would pay.", () => {
  const css = readFileSync(new URL("../../../../chat/static/chat/chat.css", import.meta.url), "utf8").replace(/\/\*.*?\*\//gs, "");
  const selectors = [...css.matchAll(/([^{};]*:has\([^{]*)\{/g)].map(([, selector]) => selector.trim());
  for (const selector of selectors) assert.match(selector, /^(?:\.room-head|\.about-part|\.narrow h1)\b/);
});
