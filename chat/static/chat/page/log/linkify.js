/**
 * Find web addresses in plain text. Pure: it yields parts, whoever draws them makes elements of them.
 *
 * Only http and https, only with a host that people read as it is (link-host.js). An address ends where the sentence
 * ends: punctuation, quotes and brackets that belong to the sentence are not part of it.
 */

import {hostEnd, isSame} from "./link-host.js";

const SCHEME = /(?<![a-z0-9])https?:\/\//giu;
/**
 * Rest after the host. It ends at white space, at double quotes and angle brackets, at marks that draw nothing or turn
 * the text (joiners within a word are part of it), and at the punctuation of scripts that put no space after it.
 */
const ORDINARY = String.raw`[^\s<>"\x60“”„‟‘‚‛«»‹›\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}、。〈-】〔-〛！（），：；？［］｛｝｟-､،؛؟۔।॥။၊።፣፤፥។៖༎།։]*`;
const REST = new RegExp(String.raw`[/?#]${ORDINARY}(?:(?<=[\p{L}\p{M}])[\u200c\u200d](?=[\p{L}\p{M}])${ORDINARY})*`, "uy");
const LONGEST = 2_048;
/** Characters that follow an address in a sentence more often than they end one, also those of other scripts. */
const TRAILING = /[.,:;!?*|^']|(?![\0-\x7f§¶‰‱])\p{P}/u;
/** Wrapped around words by those who know Markdown. */
const WRAPPING = new Set(["_", "~"]);
const PICTURE = /[\p{Extended_Pictographic}\u{1f000}-\u{1faff}\u{1fc00}-\u{1fffd}\ufe0e\ufe0f\u20e3]/u;
const CLOSERS = new Map([["(", ")"], ["[", "]"], ["{", "}"]]);
const OPENERS = new Map([...CLOSERS].map(([opener, closer]) => [closer, opener]));
const APOSTROPHES = new Map([["'", "'"], ["‘", "’"], ["’", "’"], ["‚", "’"], ["‛", "’"]]);

/**
 * @param {string} text
 * @returns {Array<{text: string, href?: string}>} the parts in order; joined, their `text` is the input
 */
export function linkify(text) {
  const parts = [];
  let done = 0; // what the parts have
  let seen = 0; // what may have been a link; it is not looked into for another
  for (const {index, 0: scheme} of text.matchAll(SCHEME)) {
    if (index < seen) continue;
    const host = index + scheme.length;
    const until = hostEnd(text, host);
    if (until < 0) continue;
    const rest = following(text, until);
    const address = rest.length <= LONGEST ? text.slice(index, until) + trimmed(rest, text[index - 1]) : null;
    const href = address && safe(address, text.slice(host, until));
    seen = until + (href ? 0 : rest.length);
    if (!href) continue;
    if (index > done) parts.push({text: text.slice(done, index)});
    parts.push({text: address, href});
    done = seen = index + address.length;
  }
  if (done < text.length) parts.push({text: text.slice(done)});
  return parts;
}

function following(text, at) {
  REST.lastIndex = at;
  return REST.exec(text)?.[0] ?? "";
}

/** The address as a browser would open it, or null when it is none of ours. */
function safe(address, host) {
  const url = parsed(address);
  if (url?.protocol !== "http:" && url?.protocol !== "https:") return null;
  return url.hostname && !url.username && !url.password && isSame(host, url) ? url.href : null;
}

function parsed(address) {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}

/** Without what belongs to the sentence around it. */
function trimmed(rest, before) {
  const characters = [...within(rest, before)];
  let end = characters.length;
  for (let last = end; last === end && end > 0; ) {
    while (end > 0 && isSentences(characters[end - 1], before)) end -= 1;
    last = beforePictures(characters, end);
    // Pictures that are all there is between two slashes are what the address is about.
    if (last < end && !/[/=#?]/.test(characters[last - 1])) end = last;
    else break;
  }
  return characters.slice(0, end).join("");
}

function isSentences(character, before) {
  return TRAILING.test(character) || (WRAPPING.has(character) && character === before);
}

function beforePictures(characters, end) {
  let place = end;
  while (place > 0 && (PICTURE.test(characters[place - 1]) || isKeycap(characters, place - 1))) place -= 1;
  return place;
}

/** Is it the digit of a keycap, `1️⃣`? */
function isKeycap(characters, at) {
  return /[0-9#*]/.test(characters[at]) && characters[at + (characters[at + 1] === "\ufe0f" ? 2 : 1)] === "\u20e3";
}

/** Up to a bracket that was opened before the address, and to the end of a quotation that it begins. */
function within(rest, before) {
  const closing = APOSTROPHES.get(before);
  const open = {")": 0, "]": 0, "}": 0};
  for (let at = 0; at < rest.length; at += 1) {
    const character = rest[at];
    if (character === closing && !/[\p{L}\p{M}\p{N}_]/u.test(rest[at + 1] ?? " ")) return rest.slice(0, at);
    if (CLOSERS.has(character)) open[CLOSERS.get(character)] += 1;
    else if (OPENERS.has(character) && (open[character] -= 1) < 0) return rest.slice(0, at);
  }
  return rest;
}
