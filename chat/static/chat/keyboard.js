/** What a phone's keyboard and a real one do to the page. */

/** Safari lays the keyboard over the page instead of making the page smaller. */
export function fitAboveKeyboard() {
  const {visualViewport} = window;
  visualViewport?.addEventListener("resize", () => {
    // Zooming in makes the viewport smaller too, and must not squeeze the page.
    const height = Math.round(visualViewport.height * visualViewport.scale);
    document.documentElement.style.setProperty("--visible-height", `${height}px`);
  });
}

/** Call `then` at the key "/" where nobody writes. */
export function onSlash(then) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    event.preventDefault();
    then();
  });
}
