/** Where the words that were searched for stand in a text. Pure: parts, of which whoever draws them makes elements. */

import {asked, cut, fold, pieces} from "./folding.js";

/** Characters of an excerpt, and of what it shows before the first word that was found. */
const EXCERPT = 180;
const LEAD = 50;
/** One picture of several, with joiners between them. */
const JOINED = /\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]*(?:\u200d\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]*)+/gu;
/**
 * @param {string} text
 * @param {string} query
 * @returns {Array<{text: string, found?: boolean}>} the parts in order; joined, their `text` is the input
 */
export function marked(text, query) {
  const parts = [];
  let done = 0;
  for (const [start, end] of placesOf(text, query)) {
    if (start > done) parts.push({text: text.slice(done, start)});
    parts.push({text: text.slice(start, end), found: true});
    done = end;
  }
  if (done < text.length) parts.push({text: text.slice(done)});
  return parts;
}

/** As `marked`, of a piece of the text around the first word that was found. */
export function excerpt(text, query) {
  const line = text.replace(/\s+/gu, " ").trim();
  if (line.length <= EXCERPT) return marked(line, query);
  const [first] = placesOf(line, query);
  const start = first && first[0] > EXCERPT - LEAD ? wordStart(line, first[0] - LEAD) : 0;
  const end = whole(line, Math.min(line.length, start + EXCERPT));
  return marked(`${start ? "…" : ""}${line.slice(start, end)}${end < line.length ? "…" : ""}`, query);
}

/** [start, end) of each word of the query in the text, in order and apart from each other. */
function placesOf(text, query) {
  const {folded, at} = fold(text);
  const wanted = asked(query);
  const found = pieces(folded).flatMap((piece) => placesIn(piece, wanted));
  return joined(found.map(([start, end]) => [at[start], ending(at, end)]), text);
}

/** The places in order; those that touch each other are one, as are the parts of a picture that joiners make one. */
function joined(places, text) {
  const whole = places.length && text.includes("\u200d") ? [...text.matchAll(JOINED)] : [];
  const apart = [];
  for (const [from, to] of places.sort((one, other) => one[0] - other[0] || other[1] - one[1])) {
    const picture = whole.find(({0: {length}, index}) => index < to && from < index + length);
    const [start, end] = picture ? [picture.index, picture.index + picture[0].length] : [from, to];
    const last = apart.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else apart.push([start, end]);
  }
  return apart;
}

/** The places of what is wanted in a piece of the folded text. */
function placesIn({kind, piece, index}, {words, beginning, runs}) {
  if (kind === "unspaced") {
    return runs.flatMap((run) => occurrences(piece, run).map((start) => [index + start, index + start + run.length]));
  }
  if (words.has(cut(piece))) return [[index, index + piece.length]];
  const begins = kind === "word" && beginning !== null && piece.startsWith(beginning);
  return begins ? [[index, index + beginning.length]] : [];
}

function occurrences(piece, run) {
  const starts = [];
  for (let at = piece.indexOf(run); at >= 0; at = piece.indexOf(run, at + run.length)) starts.push(at);
  return starts;
}

/** The end of the character that a place in the folded text belongs to. */
function ending(at, end) {
  let place = end;
  while (at[place] === at[place - 1]) place += 1;
  return at[place];
}

/** The beginning of the word in which a place lies; in a very long one, the place itself. */
function wordStart(text, place) {
  const space = text.lastIndexOf(" ", place);
  return place - space > LEAD ? whole(text, place) : space + 1;
}

/** The place, or the one before where it would cut a character in two. */
function whole(text, place) {
  return /[\udc00-\udfff]/.test(text[place] ?? "") ? place - 1 : place;
}
