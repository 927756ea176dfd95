/**
 * Find web addresses in plain text. Pure: it returns parts, and the caller makes elements of them.
 *
 * Only http and https, only with a host that people read as it is. An address ends where the sentence
 * ends: punctuation, quotes and brackets that belong to the sentence are not part of it.
 */

/*
 * The host of a web address in plain text: where it ends, and whether people read the host that they would go to. Pure.
 *
 * A label has the letters of one script, as browsers want it before they show it as it is written. A label that
 * mixes scripts, or has only letters that look like Latin ones, names another host than people read: no link.
 */

/** Characters of a host (RFC 1035, section 2.3.4). */
const LONGEST_HOST = 253;
const RUN = /[\p{L}\p{M}\p{N}._-]+/uy;
const BRACKETED = /\[[0-9a-f:.]+\]/iy; // IPv6 (RFC 3986, section 3.2.2)
const PORT = /:\d{1,5}(?!\d)/y;
/** A name before the host (`https://bank.example@evil.example`) is there to deceive. */
const USER = /[^/?#\\\s<>]*@/y;
/** A character that a browser would decode to a part of the host. */
const DECODED = "%";

const PLAIN = /^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/i;
const ASCII = /^[\0-\x7f]*$/;
const LATIN = /^[\p{Script=Latin}\p{M}0-9-]+$/u;
/** Letters that are no ASCII letter with a mark, and that people read as what they are. */
const OWN_LATIN = /[ßæøœłđþð]/giu;
const SCRIPTS = [
  "Arabic", "Armenian", "Bengali", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Gujarati", "Gurmukhi", "Hebrew",
  "Kannada", "Khmer", "Lao", "Malayalam", "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan",
].map((script) => `\\p{scx=${script}}`);
const TOGETHER = ["\\p{scx=Han}\\p{scx=Hiragana}\\p{scx=Katakana}\\p{scx=Bopomofo}", "\\p{scx=Hangul}\\p{scx=Han}"];
const OF_ONE_SCRIPT = [...SCRIPTS, ...TOGETHER].map((letters) => new RegExp(`^[${letters}\\p{M}0-9-]+`, "u"));
/** Scripts with letters that are drawn like Latin ones. */
const LIKE_LATIN = /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}\p{Script=Coptic}\p{Script=Lisu}\p{M}]/u;
const DRAWN_LIKE_LATIN = /^[абвгезкмнопрстухьъѕіјѡѵҽһԁԛԝӏαβγεηικνορτυχωՏօհնոսզցքաո0-9-]+$/iu;
/** A last label after which a label that begins in another script is the sentence's. */
const COMMON_ENDS = /^(?:com|net|org|edu|gov|info|dev|app|[a-z]{2})$/i;
/** A label like the last one of `example.co.ukで`: its beginning is the host's. */
const BEGINS_ASCII = /^[a-z0-9]/i;

/**
 * @param {string} text
 * @param {number} start where the host begins
 * @returns {number} where host and port end, or -1 where there is no host that people can read
 */
export function hostEnd(text, start) {
  if (matched(USER, text, start)) return -1;
  const bracketed = matched(BRACKETED, text, start);
  const run = matched(RUN, text, start);
  const host = bracketed || (run.length > LONGEST_HOST && ASCII.test(run) ? "" : readableHost(run.slice(0, LONGEST_HOST)));
  const end = start + host.length;
  if (!host || text[end] === DECODED) return -1;
  return end + matched(PORT, text, end).length;
}

/** Whether a browser makes of what people read the host that they read: of `127.1` it makes `127.0.0.1`. */
export function isSame(written, {host}) {
  if (!ASCII.test(written) || written.startsWith("[")) return true;
  return host === written.toLowerCase() || written.toLowerCase().startsWith(`${host}:`); // a scheme's own port is left out
}

function matched(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}

/** The part of the run that is a host, or "" if people would read another one. */
function readableHost(run) {
  const labels = run.replace(/[.-]+$/, "").split(".");
  const ascii = labels.findIndex((label) => !ASCII.test(label));
  if (ascii === -1) return labels.every((label) => PLAIN.test(label)) ? labels.join(".") : "";
  for (const [place, label] of labels.entries()) {
    if (place >= 2 && place === ascii && COMMON_ENDS.test(labels[place - 1]) && !BEGINS_ASCII.test(label)) {
      return goesOn(labels.slice(place).join(".")) ? "" : labels.slice(0, place).join(".");
    }
    if (!isReadable(label, labels, place)) return withoutSentence(labels, place);
  }
  return labels.join(".");
}

function isReadable(label, labels, place) {
  if (ASCII.test(label)) return PLAIN.test(label);
  const last = place === labels.length - 1;
  if (LATIN.test(label)) return !last && PLAIN.test(plain(label));
  if (DRAWN_LIKE_LATIN.test(label) && ASCII.test(labels.at(-1))) return false;
  return OF_ONE_SCRIPT.some((pattern) => pattern.exec(label)?.[0] === label) && (!last || place > 0);
}

function plain(label) {
  return label.normalize("NFD").replace(/\p{M}/gu, "").replace(OWN_LATIN, "x");
}

/** The host before the sentence that goes on in another script: `https://example.com에서`. */
function withoutSentence(labels, place) {
  const label = labels[place];
  const begun = /^[a-z0-9-]+/i.exec(label)?.[0] ?? OF_ONE_SCRIPT.map((pattern) => pattern.exec(label)?.[0] ?? "").find(Boolean);
  if (!begun || place === 0) return "";
  const rest = [label.slice(begun.length), ...labels.slice(place + 1)].join(".");
  if (goesOn(rest)) return "";
  const host = [...labels.slice(0, place), begun].join(".").replace(/[.-]+$/, "");
  return host.split(".").every((part, at, parts) => isReadable(part, parts, at)) ? host : "";
}

/** Whether people may read it as the rest of the host, in letters that look the same. */
function goesOn(rest) {
  return LIKE_LATIN.test(rest) && /[a-z]/i.test(rest);
}

const SCHEME = /(?<![a-z0-9])https?:\/\//giu;
/**
 * Rest after the host. It ends at white space, at double quotes and angle brackets, at marks that draw nothing or turn
 * the text (joiners within a word are part of it), and at the punctuation of scripts that put no space after it.
 */
const ORDINARY = String.raw`[^\s<>"\x60“”„‟‘‚‛«»‹›\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}、。〈-】〔-〛！（），：；？［］｛｝｟-､،؛؟۔।॥။၊።፣፤፥។៖༎།։]*`;
const REST = new RegExp(String.raw`[/?#]${ORDINARY}(?:(?<=[\p{L}\p{M}])[\u200c\u200d](?=[\p{L}\p{M}])${ORDINARY})*`, "uy");
const LONGEST_REST = 2_048;
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
  let done = 0; // end of the last part
  let seen = 0; // end of the last candidate: it is not searched for another address
  for (const {index, 0: scheme} of text.matchAll(SCHEME)) {
    if (index < seen) continue;
    const host = index + scheme.length;
    const until = hostEnd(text, host);
    if (until < 0) continue;
    const rest = following(text, until);
    const address = rest.length <= LONGEST_REST ? text.slice(index, until) + trimmed(rest, text[index - 1]) : null;
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

/** The address as a browser would open it, or null if it is not safe. */
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

/** The rest without the punctuation of the sentence around it. */
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
