/**
 * Mends a text before it is sent, as chat/protocol/text.py does once more: so the sender's page shows what the others
 * see. tests/support/texts.json holds the two equal. Pure, and by code points: the result does not depend on the
 * browser's Unicode version.
 */

import {characters, ChatError, ERROR, LIMIT} from "./protocol.js";

/** Classes of characters, each the inside of a regular expression's [...]; chat/protocol/characters.py says what they are. */
const SPACES = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const CONTROLS = "\\x00-\\x1f\\x7f-\\x9f";
const SURROGATES = "\\u{d800}-\\u{dfff}";
const PLANES = Array.from({length: 17}, (_, plane) => (plane * 0x10000 + 0xfffe).toString(16));
const NONCHARACTERS = `\\u{fdd0}-\\u{fdef}${PLANES.map((last) => `\\u{${last}}\\u{${last.slice(0, -1)}f}`).join("")}`;
const SELECTORS = "\\u180b-\\u180d\\u180f\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}";
const TAGS = "\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}";
const BIDI = "\\u202a-\\u202e\\u2066-\\u2069";
const UNUSED = "\\xad\\u2065\\u206a-\\u206f\\ufeff\\ufff0-\\ufffb";
const BLANKS =
  "\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b-\\u200f\\u2060-\\u2064\\u2800\\u3164\\uffa0" +
  "\\u{13430}-\\u{1343f}\\u{16fe4}\\u{1bca0}-\\u{1bca3}\\u{1d159}\\u{1d173}-\\u{1d17a}";
const HIDDEN = [SPACES, CONTROLS, SURROGATES, NONCHARACTERS, SELECTORS, TAGS, BIDI, UNUSED, BLANKS].join("");

const DRAWN = new RegExp(`[^${HIDDEN}]`, "u");
const LINE_BREAK = /\r\n|[\r\v\f\x85\u2028\u2029]/gu;
const DROPPED = new RegExp(`[\\x00-\\x08\\x0e-\\x1f\\x7f-\\x9f${NONCHARACTERS}${UNUSED}]`, "gu");
const SURROGATE = new RegExp(`[${SURROGATES}]`, "gu");
const TAG = new RegExp(`(\\u{1f3f4}[\\u{e0030}-\\u{e0039}\\u{e0061}-\\u{e007a}]{3,6}\\u{e007f})|[${TAGS}]`, "gu");
const MORE_SELECTORS = new RegExp(`([${SELECTORS}])[${SELECTORS}]+`, "gu");
const BIDI_CONTROL = new RegExp(`[${BIDI}]`, "gu");
const EMBEDDINGS = "\u202a\u202b\u202d\u202e";
const ISOLATES = "\u2066\u2067\u2068";
const PDF = "\u202c";
const PDI = "\u2069";

/** Whether a text draws nothing. */
export function isBlank(text) {
  return !DRAWN.test(text);
}

/** The text without invisible, useless characters. It has at most `limit` characters if the input had. */
export function mended(text, limit) {
  const whole = text
    .replace(LINE_BREAK, "\n")
    .replace(SURROGATE, "\ufffd") // first, so that two halves do not become one when the characters between them are removed
    .replace(DROPPED, "")
    .replace(TAG, (_, flag = "") => flag);
  const ended = closed(whole).replace(MORE_SELECTORS, "$1");
  return [...ended].length <= limit ? ended : whole.replace(BIDI_CONTROL, "").replace(MORE_SELECTORS, "$1");
}

/** Each bidi control with its end, in the right order: what stands after the text keeps its direction. */
function closed(text) {
  const ends = [];
  let isolates = 0;
  const paired = text.replace(BIDI_CONTROL, (control) => {
    if (EMBEDDINGS.includes(control)) ends.push(PDF);
    else if (ISOLATES.includes(control)) {
      ends.push(PDI);
      isolates += 1;
    } else if (control === PDI && isolates > 0) {
      isolates -= 1;
      return ends.splice(ends.lastIndexOf(PDI)).reverse().join(""); // embeddings that began within the isolate end too
    } else if (ends.at(-1) === control) ends.pop();
    else return "";
    return control;
  });
  return paired + ends.reverse().join("");
}

/* Texts that the server would refuse for their form. Each function returns a ChatError, or null. */

export function contentError(text) {
  return textError(text, {field: "content", subject: "The message", limit: LIMIT.CONTENT});
}

export function queryError(text) {
  return textError(text, {field: "query", subject: "The search text", limit: LIMIT.QUERY});
}

export function emojiError(text) {
  return textError(text, {field: "emoji", subject: "An emoji", limit: LIMIT.EMOJI});
}

function textError(text, {field, subject, limit}) {
  if (isBlank(text)) return new ChatError(ERROR.BAD_FIELD, `${subject} is empty.`, {field});
  if (characters(text) > limit) {
    return new ChatError(ERROR.BAD_FIELD, `${subject} has more than ${limit} characters.`, {field});
  }
  return null;
}
