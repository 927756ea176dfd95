/** The page's sentences about roles, rules and moderation. Names in them are isolated (see `alone`). */

import {alone} from "./words.js";

/** Durations of a mute or a ban, in seconds; null: permanent. */
export const LENGTHS = [
  [600, "10 minutes"],
  [3_600, "1 hour"],
  [86_400, "1 day"],
  [604_800, "1 week"],
  [null, "For good"],
];

export const KINDS = {
  public: {badge: "", sentence: "Everybody may come in."},
  members: {badge: "Members", sentence: "Everybody with an account may come in."},
  private: {badge: "Private", sentence: "Only people with an invitation may come in."},
  direct: {badge: "Direct", sentence: "Only you two are here."},
};

export const ROLES = {owner: "Owner", moderator: "Moderator", member: "Member", guest: "Guest"};

function sharedBy(others) {
  if (!others) return "no other guest here comes from it";
  return others === 1 ? "1 other guest here comes from it" : `${others} other guests here come from it`;
}

export const roomWords = {
  archived: "Archived",
  closed: "Closed",
  you: (role) => `You are ${role === "owner" ? "an owner" : `a ${role}`} here.`,
  actionsFor: (name) => `Actions for ${alone(name)}`,

  direct: "Write in private",
  mute10: "Mute for 10 minutes",
  mute60: "Mute for 1 hour",
  unmute: "Let speak again",
  kick: "Take out…",
  ban: "Ban…",
  moderator: "Make a moderator",
  owner: "Make an owner…",

  muted: (name, time) => `${alone(name)} may not speak for ${time}.`,
  unmuted: (name) => `${alone(name)} may speak again.`,
  kicked: (name) => `${alone(name)} was taken out.`,
  banned: (name) => `${alone(name)} is banned.`,
  unbanned: (name) => `${alone(name)} may come in again.`,
  appointed: (name, role) => `${alone(name)} is ${role === "owner" ? "an owner" : `a ${role}`} now.`,
  ended: (name) => `${alone(name)} is no longer a member.`,

  sureToKick: (name) => `Take ${alone(name)} out?`,
  kickHint: (kind) =>
    kind === "public" || kind === "members"
      ? "They can come back after a minute."
      : "They are no longer members, and need another invitation.",
  reallyKick: "Take out",
  sureToBan: (name) => `Ban ${alone(name)}?`,
  banHint: "They are removed from the room on all their devices.",
  reallyBan: "Ban",
  withAddress: (others, known) =>
    `Also everybody from the same address: ${sharedBy(others)}.${known ? "" : " Without it they can come back at once."}`,
  sureToMakeOwner: (name) => `Make ${alone(name)} an owner?`,
  ownerHint: "Owners can do all that you can, also to you.",
  reallyMakeOwner: "Make an owner",
  sureToLeave: "Leave this room for good?",
  leaveHint: "You will no longer be a member, and need another invitation to come back.",
  reallyLeave: "Leave the room",
  sureToArchive: "Archive this room?",
  archiveHint: "It can be read then, and nothing said in it. You can open it again.",
  reallyArchive: "Archive",

  reported: "Thank you. The moderators will look at it.",
  saved: "Saved.",
  copied: "Copied.",
  copyYourself: "Select the link and copy it.",
  expires: (time) => `Anyone with the link can become a member, until ${time}.`,
  invited: (name) => `${alone(name)} is a member now.`,
  forGood: "for good",
  until: (time) => `until ${time}`,
  isMuted: "muted",
  isBanned: "banned",
  lift: "Lift",
  liftFor: (name, kind) => `Lift: ${alone(name)}, ${kind === "ban" ? "banned" : "muted"}`,
  roleOf: (name) => `Role of ${alone(name)}`,
  takeOut: "No longer a member",

  signedOut: "You were signed out.",
  signedOutHint: "Sign in to go on here.",
  signIn: "Sign in",
  unnamed: "Your name is no longer known here.",
  chooseName: "Choose a name",
  somebodyElse: (name) => `You are ${alone(name)} now.`,
  somebodyElseHint: "You came in under another name in another tab.",
  reload: "Go on under this name",
  out: {
    banned: "You may not be in this room.",
    no_room: "You are not in this room any more.",
    sign_in: "Only people with an account may come in here.",
  },
  outForNow: "You may not be in this room for now.",
  comeBack: "Come back",
  comeBackIn: (seconds) => `You can come back ${inTime(seconds)}.`,
  otherRoom: "Choose another room",
};

/**
 * Why the reader can't send: [the text for screen readers, the visible text].
 * @param {{why: string | null, time?: string, slow?: number, seconds?: number}} state of send-state.js; `time` is its
 *   end, formatted, `seconds` the time until then
 */
export function speakingWords({why, time = "", slow = 0, seconds = 0}) {
  switch (why) {
    case "deleted":
      return same("The other account was deleted: this conversation can only be read.");
    case "deactivated":
      return same("The other account is deactivated: this conversation can only be read.");
    case "left":
      return same("The other person is not in this conversation any more: it can only be read.");
    case "archived":
      return same("This room is archived: it can only be read.");
    case "muted":
      return same(time ? `You may not speak here until ${time}.` : "You may not speak here.");
    case "read_only":
      return same("Read-only: only the owners and moderators speak here.");
    case "waiting":
      return [`Slow mode: your message is sent ${inTime(seconds)}.`, `Slow mode: sends ${inTime(seconds)}`];
    case "too_many":
      return [`Too fast: your message is sent ${inTime(seconds)}.`, `Too fast: sends ${inTime(seconds)}`];
    case "paused":
      return [`Slow mode: you can write again ${inTime(seconds)}.`, `Slow mode: next message ${inTime(seconds)}`];
    case "slow":
      return same(`Slow mode: one message every ${span(slow)}.`);
    default:
      return same("");
  }
}

/** A number of seconds, in words. */
export function span(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

function inTime(seconds) {
  return `in ${span(Math.max(1, seconds))}`;
}

function same(sentence) {
  return [sentence, sentence];
}
