/** The room's page: its script and its template. */

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {readFileSync} from "node:fs";
import {test} from "node:test";
import {fileURLToPath} from "node:url";

const page = new URL("../../../chat/static/chat/page/", import.meta.url);
const template = readFileSync(new URL("../../../templates/chat/room.html", import.meta.url), "utf8");

/** The addresses of the modules that one needs, itself among them. */
function needed(url, found = new Set()) {
  if (found.has(url.href)) return found;
  found.add(url.href);
  const imports = readFileSync(url, "utf8").matchAll(/^(?:import|export)[^;]*? from "(\.[^"]+)";/gm);
  for (const [, other] of imports) needed(new URL(other, url), found);
  return found;
}

test("The page's script asks for elements that the page has.", () => {
  const script = [...needed(new URL("room.js", page))].map((url) => readFileSync(new URL(url), "utf8")).join("\n");
  const lists = [...script.matchAll(/elements\(([^)]*)\)/g)].flatMap(([, list]) => [...list.matchAll(/"(\w+)"/g)]);
  const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const ids = [...lists.map(([, name]) => kebab(name)), ...[...script.matchAll(/\$\("([\w-]+)"\)/g)].map(([, id]) => id)];
  assert.ok(ids.length > 30);
  for (const id of ids) if (id !== "chat-config") assert.match(template, new RegExp(`id="${id}"`));
});

test("Each module can be parsed: of some no other test does more.", () => {
  for (const url of [...needed(new URL("room.js", page)), new URL("entrance/sweep.js", page)]) {
    execFileSync(process.execPath, ["--check", fileURLToPath(url)], {stdio: "pipe"});
  }
});
