/** The list of who is here, as it is shown: the reader first, the others by name. Pure. */

/**
 * @param {{users: string[], count: number}} userList the server's: at most 200 names, the true count
 * @param {string} me
 * @returns {{names: string[], hidden: number, count: number}} hidden: how many are here beyond `names`
 */
export function whoIsHere({users, count}, me, compare = byName) {
  const others = users.filter((name) => name !== me).sort(compare);
  const names = users.includes(me) ? [me, ...others] : others;
  return {names, hidden: Math.max(0, count - names.length), count};
}

const byName = new Intl.Collator(undefined, {sensitivity: "base", numeric: true}).compare;

/** Which of `kinds` colours a name has: always the same, in every browser. */
export function hueOf(name, kinds) {
  let hash = 0;
  for (const character of name) hash = (Math.imul(hash, 31) + character.codePointAt(0)) >>> 0;
  return hash % kinds;
}
