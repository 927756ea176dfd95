/** Pages of one browser, whose messages are kept in its storage. */

import {openStore} from "../../../chat/static/chat/client/store.js";
import {enter, keyOf, settle, world} from "./helpers.js";

export const contents = ({socket}) => socket.of("message").map(({content}) => content);
export const waiting = ({client}) => client.pending("lobby").map(({content}) => content);

/** A page of somebody in a tab of its own, in the lobby. `crash()` ends it without a word. */
export async function opened(browser, {you = keyOf("Ann"), faults = [], locks = true, ...options} = {}) {
  const tab = browser.tab(...faults);
  const given = {owner: you, room: "lobby", indexedDB: tab.indexedDB, locks: locks ? tab.locks : null, pause: settle};
  const here = world({you, store: openStore(given), ...options});
  here.tab = tab;
  here.crash = () => tab.crash();
  enter(here, {you, ...options});
  await rest();
  return here;
}

/** Let everything in the browser come to rest. */
export async function rest() {
  for (let n = 0; n < 250; n += 1) await settle();
}

/** Acknowledge what comes until nothing does. Returns the refs, in their order. */
export function acknowledge({socket}) {
  const refs = [];
  for (let command = socket.last("message"); command && !refs.includes(command.ref); command = socket.last("message")) {
    refs.push(command.ref);
    socket.ack(command, refs.length);
  }
  return refs;
}
