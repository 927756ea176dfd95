/** The public address of client/client.js. */
export * from "./client/client.js";
