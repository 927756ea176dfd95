/** The public address of client/store.js. */
export * from "./client/store.js";
