/** A name for one command that no other command has: 128 random bits. */
export function newRef() {
  // Not randomUUID: browsers have it only in secure contexts, and a chat on http://192.168.… is none.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
