/** Frames whose seq is a number of the room's log. `read` has a position in it, and is no change of the room. */
export function isNumbered({type, seq}) {
  return Number.isSafeInteger(seq) && type !== "read";
}

/**
 * A message after a change: what the frame (`message`, `edit`, `delete` or `react`) makes of it. A frame about
 * another message, or one that is older than the message's state, changes nothing.
 */
export function changed(message, frame) {
  if (frame.id !== message.id || !(frame.seq > message.seq)) return message;
  const {content, edited, deleted, reactions, ...rest} = message;
  const now = {...rest, seq: frame.seq};
  switch (frame.type) {
    case "message":
      return stated(frame);
    case "edit": // of a deleted one too: the staff may bring it back
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
