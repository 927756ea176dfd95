/** 200 gauges on a canvas, with a table beside it for screen readers: both follow the topic's state. */

import {ChatClient} from "../chat/client/client.js";

const COLUMNS = 20;
const canvas = document.getElementById("board");
const state = document.getElementById("board-state");
const rows = [...document.querySelectorAll("#readings tbody tr")];
const cells = new Map(rows.map((row) => [row.dataset.key, row.lastElementChild]));
const keys = [...cells.keys()];
const client = new ChatClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
const board = client.topic("board:main");
let due = false;

/** Draw once for all changes of a frame. */
function drawSoon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

function draw() {
  const context = canvas.getContext("2d");
  const {width, height} = canvas;
  const [cell, line] = [width / COLUMNS, height / Math.ceil(keys.length / COLUMNS)];
  const ink = getComputedStyle(canvas).color;
  context.clearRect(0, 0, width, height);
  for (const [i, key] of keys.entries()) {
    const value = board.state.get(key)?.value ?? 0;
    const [x, y] = [(i % COLUMNS) * cell, Math.floor(i / COLUMNS) * line];
    context.globalAlpha = 0.15;
    context.fillStyle = ink;
    context.fillRect(x + 3, y + 3, cell - 6, line - 6);
    context.globalAlpha = 1;
    context.fillStyle = `hsl(${150 - 1.5 * value} 60% 45%)`;
    const full = (line - 6) * (value / 100);
    context.fillRect(x + 3, y + line - 3 - full, cell - 6, full);
  }
}

function fill() {
  for (const [key, cell] of cells) {
    const value = board.state.get(key)?.value;
    const text = value === undefined ? "–" : value.toFixed(1);
    if (cell.textContent !== text) cell.textContent = text;
  }
  state.textContent = board.isLive ? `Live: ${board.state.size} of ${keys.length} gauges have a reading.` : "Connecting…";
}

board.on("change", () => {
  fill();
  drawSoon();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
client.connect();
draw();
