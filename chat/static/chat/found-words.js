/** Where the words that were searched for stand in a text. Pure: parts, of which whoever draws them makes elements. */

/** Characters of an excerpt, and of what it shows before the first word that was found. */
const EXCERPT = 180;
const LEAD = 50;
/** Letters that the last word must have to be taken for the beginning of others, as the server does it. */
const BEGINNING = 3;
/** What is written without spaces between words: there a word may stand anywhere. */
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u;

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
  const words = fold(query).folded.match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
  const open = words.at(-1)?.length >= BEGINNING ? words.length - 1 : null; // it may be unfinished
  const places = words.flatMap((word, i) => occurrences(folded, word, i !== open));
  places.sort((one, other) => one[0] - other[0] || other[1] - one[1]);
  const apart = [];
  for (const [start, end] of places) {
    if (start >= (apart.at(-1)?.[1] ?? 0)) apart.push([start, end]);
  }
  return apart.map(([start, end]) => [at[start], at[end]]);
}

function occurrences(folded, word, whole) {
  const places = [];
  for (let start = folded.indexOf(word); start >= 0; start = folded.indexOf(word, start + word.length)) {
    const end = start + word.length;
    const apart = !isWordCharacter(folded[start - 1]) && !(whole && isWordCharacter(folded[end]));
    if (apart || UNSPACED.test(word)) places.push([start, end]);
  }
  return places;
}

function isWordCharacter(character = " ") {
  return /[\p{L}\p{N}]/u.test(character);
}

/** The text in small letters without accents, and for each place in it the place in the text itself. */
function fold(text) {
  let folded = "";
  const at = [];
  let place = 0;
  for (const character of text) {
    const plain = character.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
    for (let i = 0; i < plain.length; i += 1) at.push(place);
    folded += plain;
    place += character.length;
  }
  at.push(place);
  return {folded, at};
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
