/**
 * A name for one command that no other command has: the time in milliseconds, and 80 random bits.
 *
 * The time comes first because servers keep these names in an index: names of one time stand together there, and
 * a message costs a third less than with names that are random from the first letter.
 */
export function newRef() {
  const time = Date.now().toString(16).padStart(12, "0");
  // Not randomUUID: browsers have it only in secure contexts, and a chat on http://192.168.… is none.
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return time + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
