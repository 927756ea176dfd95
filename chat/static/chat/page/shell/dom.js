/**
 * Make an element. `properties` are set as properties, `dataset` is merged; children are nodes and strings, and
 * null where there is none.
 */
export function make(tag, {dataset = {}, ...properties} = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, dataset);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Write what is not there yet: an element that stays as it is costs no layout, and no screen reader says it again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The names of the flags that are set, as classes. */
export function classes(base, flags) {
  return [base, ...Object.keys(flags).filter((name) => flags[name])].join(" ");
}

/** The page's elements by the names that scripts give them: `peopleList` has the id "people-list". */
export function elements(...names) {
  const id = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return Object.fromEntries(names.map((name) => [name, document.getElementById(id(name))]));
}

const SVG = "http://www.w3.org/2000/svg";

/** A line drawing: `path` in a square of 24, to go with words or in a button that has a label. */
export function icon(path, size = 18) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = {viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true"};
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
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
