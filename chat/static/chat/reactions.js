/** The emoji on a message: [{emoji, usernames, count}], as on the wire. Pure. */

/** What the palette offers. Each is one emoji to the server, and in every system's font. */
export const PALETTE = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🙏", "👀"];
/** Different emoji on one message, as the server has it. */
export const MOST = 20;

/** Whether `name` has put `emoji` there, as far as the names tell: of many only the first are known. */
export function has(reactions, emoji, name) {
  return find(reactions, emoji)?.usernames.includes(name) ?? false;
}

/** The reactions after `name` put the emoji on, or took it off. */
export function toggled(reactions = [], emoji, name, on) {
  if (has(reactions, emoji, name) === on) return reactions;
  if (on && !find(reactions, emoji)) return [...reactions, {emoji, usernames: [name], count: 1}];
  return reactions
    .map((reaction) => (reaction.emoji === emoji ? moved(reaction, name, on) : reaction))
    .filter(({count}) => count > 0);
}

function moved({emoji, usernames, count}, name, on) {
  if (on) return {emoji, usernames: [...usernames, name], count: count + 1};
  return {emoji, usernames: usernames.filter((other) => other !== name), count: count - 1};
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
