/** What the server would refuse for its form, told without asking it. Each gives a ChatError, or null. */

import {ChatError} from "./errors.js";
import {characters, ERROR, LIMIT} from "./protocol.js";
import {isBlank} from "./text.js";

export function toContent(text) {
  return toText(text, {field: "content", subject: "The message", limit: LIMIT.CONTENT});
}

export function toQuery(text) {
  return toText(text, {field: "query", subject: "What is searched for", limit: LIMIT.QUERY});
}

export function toEmoji(text) {
  return toText(text, {field: "emoji", subject: "An emoji", limit: LIMIT.EMOJI});
}

function toText(text, {field, subject, limit}) {
  if (isBlank(text)) return new ChatError(ERROR.BAD_FIELD, `${subject} is empty.`, {field});
  if (characters(text) > limit) {
    return new ChatError(ERROR.BAD_FIELD, `${subject} has more than ${limit} characters.`, {field});
  }
  return null;
}
