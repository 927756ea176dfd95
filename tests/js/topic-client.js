// Two clients of a topic over real sockets: one publishes the numbers below COUNT, the other prints what arrives.
import WebSocket from "ws";

import {ChatClient} from "../../chat/static/chat/client.js";

const [url, name, count] = process.argv.slice(2);
const [reader, writer] = [new ChatClient(url, {WebSocket}), new ChatClient(url, {WebSocket})];
const tell = (fact) => console.log(JSON.stringify(fact));

const read = reader.topic(name, {rewind: 100});
read.on("reset", () => tell({reset: true}));
read.on("moved", ({data}) => tell({status: data.status}));
read.subscribe(() => tell({live: read.getSnapshot().live}));

const written = writer.topic(name);
written.present({cursor: 1});
written.on("signal:moved", ({data}) => tell({signal: data.status}));

reader.connect();
writer.connect();
for (let number = 0; number < Number(count); number += 1) {
  const {seq} = await written.publish("moved", {status: `${number}`});
  tell({seq});
}
await written.publish("nothing", {}).catch(({code}) => tell({code}));
await new Promise((resolve) => {
  const look = () => read.entries.length >= Number(count) && read.isLive && resolve();
  read.on("change", look);
  look();
});
const page = await read.history({limit: 2});
tell({history: page.entries.map(({data}) => data.status)});
const {entries, people} = read.getSnapshot();
tell({states: [...people.values()].flatMap(({state}) => state ?? []), entries: entries.length});
read.signal("moved", {status: "waves"});
