/** The list of who is here, as it is shown: the reader first, the others by name. Pure. */

/**
 * @param {{users: string[], count: number, own: number}} userList the server's: at most 200 names, the true count; and
 *   at which place the reader is, by the client (person.js)
 * @returns {{me: string | undefined, others: string[], hidden: number, count: number}} hidden: how many are here beyond
 *   those
 */
export function whoIsHere({users, count, own}, compare = byName) {
  const others = users.filter((_, place) => place !== own).sort(compare);
  return {me: users[own], others, hidden: Math.max(0, count - users.length), count};
}

const byName = new Intl.Collator(undefined, {sensitivity: "base", numeric: true}).compare;

/** Which of `kinds` colours a name has: always the same, in every browser. */
export function hueOf(name, kinds) {
  let hash = 0;
  for (const character of name) hash = (Math.imul(hash, 31) + character.codePointAt(0)) >>> 0;
  return hash % kinds;
}
