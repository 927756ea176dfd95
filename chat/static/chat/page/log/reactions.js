/** The emoji on a message: [{emoji, count, own, place, others}], as the client marks them (person.js). Pure. */

/** What the palette offers. Each is one emoji to the server, and in every system's font. */
export const PALETTE = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🙏", "👀"];
/** Different emoji on one message, as the server has it. */
export const MOST = 20;

/** Whether the reader has put `emoji` there, as far as is told: of many only the first are known. */
export function has(reactions, emoji) {
  return find(reactions, emoji)?.own ?? false;
}

/** The reactions after the reader put the emoji on, or took it off. */
export function toggled(reactions = [], emoji, on) {
  if (has(reactions, emoji) === on) return reactions;
  if (on && !find(reactions, emoji)) return [...reactions, {emoji, count: 1, own: true, place: 0, others: []}];
  return reactions
    .map((reaction) => (reaction.emoji === emoji ? moved(reaction, on) : reaction))
    .filter(({count}) => count > 0);
}

function moved(reaction, on) {
  const {count, others} = reaction;
  return {...reaction, own: on, place: on ? others.length : -1, count: count + (on ? 1 : -1)};
}

/** What may be put on a message: the palette, and what others have put there. */
export function choices(reactions = []) {
  if (reactions.length >= MOST) return reactions.map(({emoji}) => emoji);
  const others = reactions.map(({emoji}) => emoji).filter((emoji) => !PALETTE.includes(emoji));
  return [...PALETTE, ...others];
}

function find(reactions = [], emoji) {
  return reactions.find((reaction) => reaction.emoji === emoji);
}
