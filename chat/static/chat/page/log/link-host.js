/**
 * The host of a web address in plain text: where it ends, and whether people read the host that they would go to. Pure.
 *
 * A label has the letters of one script, as browsers want it before they show it as it is written. A label that
 * mixes scripts, or has only letters that look like Latin ones, names another host than people read: no link.
 */

/** Characters of a host (RFC 1035, section 2.3.4). */
const LONGEST = 253;
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
  const host = bracketed || (run.length > LONGEST && ASCII.test(run) ? "" : readableHost(run.slice(0, LONGEST)));
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
