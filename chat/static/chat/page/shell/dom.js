/**
 * Create an element. `properties` are set as properties, `dataset` is merged. Children are nodes, strings, or null, which
 * is skipped.
 */
export function make(tag, {dataset = {}, ...properties} = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, dataset);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Set a text only if it differs: an unchanged element costs no layout, and no screen reader announces it again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The names of the flags that are set, as classes. */
export function classes(base, flags) {
  return [base, ...Object.keys(flags).filter((name) => flags[name])].join(" ");
}

/** The page's elements by camelCase names: `peopleList` has the id "people-list". */
export function elements(...names) {
  const id = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return Object.fromEntries(names.map((name) => [name, document.getElementById(id(name))]));
}

const SVG = "http://www.w3.org/2000/svg";

/** A line drawing: `path` in a square of 24, beside a text or in a labelled button. */
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

/** Run `draw` once before the next frame, however often it is requested; in a hidden tab, within 250 ms. */
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

/** The line drawings of the page's own buttons, as paths in a square of 24 (dom.js draws them). */
export const ICONS = {
  react: "M12 21a9 9 0 1 1 6.4-15.3M9 9.5v.01M15 9.5v.01M8.5 14a4.2 4.2 0 0 0 7 0M19 2.5v6M16 5.5h6",
  reply: "M10 5 4 11l6 6M4 11h9.5c4 0 6.5 2.5 6.5 7",
  edit: "M4 20l.8-4L16.3 4.5a1.7 1.7 0 0 1 2.4 0l.8.8a1.7 1.7 0 0 1 0 2.4L8 19.2 4 20ZM14.5 6.3l3.2 3.2",
  delete: "M4.5 6.5h15M9.5 6V4h5v2M6.5 6.5 7.3 20h9.4l.8-13.5M10.3 10.5v6M13.7 10.5v6",
  report: "M6 21V4M6 4.5c4-2.5 7.5 2.5 12 0v9c-4.5 2.5-8-2.5-12 0",
  back: "M14.5 5.5 8 12l6.5 6.5",
  more: "M5 12h.01M12 12h.01M19 12h.01",
};
