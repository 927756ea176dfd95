/** The browser's timers, and a time that goes on evenly: a corrected wall clock must not look like silence. */
export const systemClock = {
  now: () => performance.now(),
  setTimeout: (...args) => globalThis.setTimeout(...args),
  clearTimeout: (id) => globalThis.clearTimeout(id),
};
