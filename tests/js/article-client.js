// The article's client, in plain Node: open /ws, join, say something, print each frame.
import WebSocket from "ws";

const [url, username] = process.argv.slice(2);
const socket = new WebSocket(url);

socket.on("open", () => {
  socket.send(JSON.stringify({ type: "join", username }));
});

socket.on("message", (data) => {
  const message = JSON.parse(data.toString());
  console.log(JSON.stringify(message));
  if (message.type === "userList" && !socket.spoke) {
    socket.spoke = true;
    socket.send(JSON.stringify({ type: "message", username, content: "hello from node", timestamp: Date.now() }));
  }
});
