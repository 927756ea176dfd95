/*
 * Texts folded as the server's search folds them (chat/log/search_words.py): case, accents, forms of characters and invisible
 * characters make no difference. Pure. tests/support/words.json has cases that both sides must get right.
 */

/** Letters that the last word must have to be taken for the beginning of others, and characters of it that count. */
const BEGINNING = 3;
const LONGEST = 500;

/** Scripts without spaces between words, as ranges of a character class. A test holds these equal to the server's. */
export const UNSPACED = String.raw`\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u19e0-\u19ff\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf\ua980-\ua9df\u1b00-\u1b7f\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u{1aff0}-\u{1b16f}\u3105-\u312f\u31a0-\u31bf\u{20000}-\u{3ffff}`;
/** Pictures and signs that are searched for one by one. */
export const SYMBOLS = String.raw`\u20a0-\u20cf\u2100-\u214f\u2190-\u2bff\u3030\u303d\u3297\u3299\u00a9\u00ae\u{1f000}-\u{1f1e5}\u{1f200}-\u{1f3f3}\u{1f3f5}-\u{1f3fa}\u{1f400}-\u{1faff}`;
const REGION = String.raw`\u{1f1e6}-\u{1f1ff}`;
const BLACK_FLAG = String.raw`\u{1f3f4}`;
const TAGS = String.raw`\u{e0020}-\u{e007f}`;

const PIECES = new RegExp(
  `(?<unspaced>[${UNSPACED}]+)|(?<picture>[${REGION}]{1,2}|${BLACK_FLAG}[${TAGS}]*|[${SYMBOLS}])` +
    `|(?<word>[^ ${UNSPACED}${REGION}${BLACK_FLAG}${SYMBOLS}]+)`,
  "gu",
);
const WHOLE = new RegExp(`[${UNSPACED}${REGION}${BLACK_FLAG}${TAGS}${SYMBOLS}]`, "u");
/** Units that are folded together: a character with the marks on it, the letters of a Hangul syllable. */
const CLUSTERS = new RegExp(
  "\\u200b+|(?:[\\u1100-\\u115f]+[\\u1160-\\u11a7]*[\\u11a8-\\u11ff]*|[가-힣][\\u11a8-\\u11ff]*|[^])[\\p{M}\\uff9e\\uff9f]*",
  "gu",
);
const UNSPACED_START = new RegExp(`^[${UNSPACED}]`, "u");
const UNSPACED_END = new RegExp(`[${UNSPACED}]$`, "u");
/** Characters that folding drops from a text in NFKD: accents, points of Arabic and Hebrew, skin tones, blanks. */
const DROPPED = new RegExp(
  String.raw`[\u0300-\u0305\u0307\u0309-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]` +
    String.raw`|(?<![\u0418\u0438\u0423\u0443])\u0306|(?<![\u0406\u0456])\u0308` +
    String.raw`|[\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]` +
    String.raw`|[\u08ca-\u08e1\u08e3-\u08ff\u0640]|(?<=\u0627)[\u0653-\u0655]` +
    String.raw`|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]` +
    String.raw`|[\u{1f3fb}-\u{1f3ff}\ufe00-\ufe0f\u{e0100}-\u{e01ef}\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f]` +
    String.raw`|[\u202a-\u202e\u2060-\u206f\ufeff]`,
  "gu",
);
const EXTRA = new Map(
  Object.entries({ß: "ss", ς: "σ", ø: "o", đ: "d", ð: "d", ħ: "h", ł: "l", ŧ: "t", æ: "ae", œ: "oe", þ: "th"}),
);
for (const [from, to] of ["\u0131i", "\u0649\u064a", "\u06cc\u064a", "\u06a9\u0643"]) EXTRA.set(from, to);

/** The text folded, and for each place in it the place in the text itself. */
export function fold(text) {
  let folded = "";
  const at = [];
  for (const {0: cluster, index} of text.matchAll(CLUSTERS)) {
    const plain = isJoint(cluster, text, index) ? "" : foldCluster(cluster);
    for (let i = 0; i < plain.length; i += 1) at.push(index);
    folded += plain;
  }
  at.push(text.length);
  return {folded, at};
}

/** The parts of a query: words, perhaps the beginning of one, and runs of characters without spaces. */
export function asked(query) {
  const found = pieces(fold(query).folded).filter(({piece}) => /\P{M}/u.test(piece));
  const last = found.at(-1);
  const open = last?.kind === "word" && (last.piece.length >= BEGINNING || !isAscii(last.piece));
  const beginning = open ? cut(found.pop().piece) : null;
  const runs = found.filter(({kind}) => kind === "unspaced").map(({piece}) => piece);
  const words = new Set(found.filter(({kind}) => kind !== "unspaced").map(({piece}) => cut(piece)));
  return {words, beginning, runs};
}

/** The words, pictures and runs without spaces of a folded text, each with its kind and its place. */
export function pieces(folded) {
  return [...folded.matchAll(PIECES)].map(({0: piece, index, groups}) => {
    const kind = groups.word === undefined ? (groups.unspaced === undefined ? "picture" : "unspaced") : "word";
    return {kind, piece, index};
  });
}

export function cut(word) {
  return word.length <= LONGEST ? word : [...word].slice(0, LONGEST).join("");
}

/** Is it a space without width where there are no spaces anyway? */
function isJoint(cluster, text, index) {
  if (!cluster.startsWith("\u200b")) return false;
  return UNSPACED_END.test(text.slice(Math.max(0, index - 2), index)) && UNSPACED_START.test(text.slice(index + cluster.length, index + cluster.length + 2));
}

function foldCluster(cluster) {
  if (cluster.length === 1 && isAscii(cluster)) return place(cluster);
  const plain = cluster.normalize("NFKD").replace(DROPPED, "").toLowerCase().replace(/[ßς]/gu, (it) => EXTRA.get(it));
  return [...plain.normalize("NFKC")].map(place).join("");
}

/** The replacement of a character that the folding left: itself, another one, or a space. */
function place(character) {
  if (isAscii(character)) return /[a-z0-9]/i.test(character) ? character.toLowerCase() : " ";
  if (EXTRA.has(character)) return EXTRA.get(character);
  if (WHOLE.test(character)) return character;
  if (/\p{Nd}/u.test(character)) return String(digit(character.codePointAt(0)));
  return /[\p{L}\p{M}\p{N}\p{Cn}\p{Co}]/u.test(character) ? character : " ";
}

/** The value of a digit of any script: the digits of each stand one after another. */
function digit(code) {
  let value = 0;
  while (value < 9 && /\p{Nd}/u.test(String.fromCodePoint(code - value - 1))) value += 1;
  return value;
}

function isAscii(text) {
  return /^[\0-\x7f]*$/.test(text);
}

/* Finds the words of a query in a text. Pure: it returns parts, and the caller makes elements of them. */

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

/** The places of the query's words in a piece of the folded text. */
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
