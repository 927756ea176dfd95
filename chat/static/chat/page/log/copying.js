/** The text of selected messages: author, time and content, without the words of buttons. */

const ROW = "li.message";

/** Messages that are copied from the list are copied as they were written. */
export function copyAsSaid(list) {
  document.addEventListener("copy", (event) => {
    const selection = document.getSelection();
    if (event.target.closest?.("input, textarea") || !selection?.rangeCount) return;
    const text = said(selection.getRangeAt(0), list);
    if (text === null) return;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  });
}

/** The text of the selected rows; null where the selection is not of messages alone. */
function said(range, list) {
  if (range.collapsed || !list.contains(range.commonAncestorContainer)) return null;
  const rows = [...list.querySelectorAll(ROW)].filter((row) => range.intersectsNode(row));
  const parts = rows.map((row) => ({row, words: wordsIn(range, row.querySelector(".text"))})).filter(({words}) => words);
  if (parts.length < 2) return parts.length ? parts[0].words : null;
  return parts.map(({row, words}) => `${heading(row)} ${words}`).join("\n");
}

function heading(row) {
  return `[${row.querySelector("time").textContent}] ${row.querySelector(".author").textContent}:`;
}

/** The selected part of an element's text, without its notes. */
function wordsIn(range, text) {
  if (!text || !range.intersectsNode(text)) return "";
  const part = document.createRange();
  part.selectNodeContents(text);
  if (part.comparePoint(range.startContainer, range.startOffset) === 0) part.setStart(range.startContainer, range.startOffset);
  if (part.comparePoint(range.endContainer, range.endOffset) === 0) part.setEnd(range.endContainer, range.endOffset);
  const copy = part.cloneContents();
  for (const note of copy.querySelectorAll(".edited")) note.remove();
  return copy.textContent.trimEnd();
}
