/**
 * Find web addresses in plain text. Pure: it yields parts, whoever draws them makes elements of them.
 *
 * Only http and https, only with a host, and never with a user name before the host: in
 * `https://bank.example@evil.example` people read the first name and go to the second.
 */

/**
 * An address ends at white space, quotes and angle brackets, at marks that draw nothing or turn the text, and at
 * the full-width punctuation of texts that have no spaces (browsers would read "。" as a dot of the host).
 */
const CANDIDATE = /\bhttps?:\/\/[^\s<>"'`“”„‘’«»\p{Cc}\p{Cf}\p{Zl}\p{Zp}。，、！？：；（）「」『』【】]+/giu;
const LONGEST = 2_048;
/** What follows an address in a sentence more often than it ends one. */
const TRAILING = new Set(".,:;!?*…");
const BRACKETS = new Map([[")", "("], ["]", "["], ["}", "{"]]);

/**
 * @param {string} text
 * @returns {Array<{text: string, href?: string}>} the parts in order; joined, their `text` is the input
 */
export function linkify(text) {
  const parts = [];
  let done = 0;
  for (const match of text.matchAll(CANDIDATE)) {
    const address = trimmed(match[0]);
    const href = safe(address);
    if (!href) continue;
    if (match.index > done) parts.push({text: text.slice(done, match.index)});
    parts.push({text: address, href});
    done = match.index + address.length;
  }
  if (done < text.length) parts.push({text: text.slice(done)});
  return parts;
}

/** The address as a browser would open it, or null when it is none of ours. */
function safe(address) {
  const url = address.length <= LONGEST ? parsed(address) : null;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") return null;
  return url.hostname && !url.username && !url.password ? url.href : null;
}

function parsed(address) {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}

/** Without the punctuation of the sentence around it, and without a bracket that was opened before it. */
function trimmed(address) {
  const excess = unopened(address);
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    if (excess.get(last) > 0) excess.set(last, excess.get(last) - 1);
    else if (!TRAILING.has(last)) break;
  }
  return address.slice(0, end);
}

/** How many closing brackets of each kind the address has more than opening ones. */
function unopened(address) {
  const excess = new Map([...BRACKETS.keys()].map((closing) => [closing, 0]));
  const closers = new Map([...BRACKETS].map(([closing, opening]) => [opening, closing]));
  for (const character of address) {
    if (excess.has(character)) excess.set(character, excess.get(character) + 1);
    const closer = closers.get(character);
    if (closer) excess.set(closer, excess.get(closer) - 1);
  }
  return excess;
}
