/** Make an element. `properties` are set as properties, `dataset` is merged; children are nodes and strings. */
export function make(tag, {dataset = {}, ...properties} = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

/** A sentence's parts (see words.js) as nodes: each name stands alone, whatever direction it runs in. */
export function sentence(parts) {
  return parts.map((part) => (typeof part === "string" ? part : make("bdi", {}, part.name)));
}

/** Run `draw` once before the next frame, however often it is asked for; in a hidden tab, soon. */
export function onFrame(draw) {
  let asked = false;
  const run = () => {
    asked = false;
    draw();
  };
  return () => {
    if (asked) return;
    asked = true;
    // A hidden tab has no frames, and its title and live regions are still read.
    if (document.hidden) setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}
