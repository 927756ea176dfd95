/** Frames whose seq is a number of the room's log. `read` names a position in it, and is no change of the room. */
export function isNumbered({type, seq}) {
  return Number.isSafeInteger(seq) && type !== "read";
}

/**
 * The message after a change. The frame is a `message`, `edit`, `delete` or `react`. A frame of another message, or one
 * that is older than the message's state, changes nothing.
 */
export function changed(message, frame) {
  if (frame.id !== message.id || !(frame.seq > message.seq)) return message;
  const {content, edited, deleted, reactions, ...rest} = message;
  const now = {...rest, seq: frame.seq};
  switch (frame.type) {
    case "message":
      return stated(frame);
    case "edit": // also an edit of a deleted message: the staff may restore it
      return given({...now, content: frame.content, edited: frame.edited, reactions: frame.reactions});
    case "delete":
      return {...now, content: "", deleted: true};
    case "react":
      return given({...now, content, edited, deleted, reactions: frame.reactions});
    default:
      return message;
  }
}

function stated({follows, ...message}) {
  return message;
}

function given(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
