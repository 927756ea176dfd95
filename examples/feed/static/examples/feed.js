/** The feed, live: it goes on from the position that the page was rendered at. */

import {ChatClient} from "../chat/client/client.js";

const list = document.getElementById("feed");
const state = document.getElementById("feed-state");
const empty = document.getElementById("feed-empty");
const client = new ChatClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
const {since, epoch} = list.dataset;
const feed = client.topic("feed:all", {rewind: 20, ...(epoch && {since: Number(since), epoch})});

function show({id, data, timestamp}) {
  if (list.querySelector(`[data-id="${Number(id)}"]`)) return;
  const item = document.createElement("li");
  const actor = document.createElement("b");
  const text = document.createElement("span");
  const time = document.createElement("time");
  item.dataset.id = id;
  actor.textContent = data.actor;
  text.textContent = data.text;
  time.dateTime = new Date(timestamp).toISOString();
  time.textContent = new Date(timestamp).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
  item.append(actor, " ", text, " ", time);
  list.prepend(item);
  empty.hidden = true;
}

feed.on("activity", show);
feed.on("change", () => (state.textContent = feed.isLive ? "Live" : "Connecting…"));
client.connect();
