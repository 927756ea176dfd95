// The article's server: a users Map, one JSON.stringify per broadcast, a send to each open client.
//
//     node article.mjs PORT [rooms]
//
// Without "rooms" it broadcasts to all clients, as the article does. With it, to those who joined the room: the least
// that its broadcast needs for the workloads that have several. Next.js, which only serves the pages, is left out.
import { createServer } from 'node:http';
import { WebSocketServer, WebSocket } from 'ws';

const [port, mode] = process.argv.slice(2);
const wss = new WebSocketServer({ noServer: true });
const users = new Map();
const rooms = new Map();

const audience = (room) => (mode === 'rooms' ? (rooms.get(room) ?? new Map()).keys() : wss.clients);

function broadcast(room, message) {
  const data = JSON.stringify(message);
  for (const client of audience(room)) {
    if (client.readyState === WebSocket.OPEN) client.send(data);
  }
}

function broadcastUserList(room) {
  const names = mode === 'rooms' ? (rooms.get(room) ?? new Map()).values() : users.values();
  broadcast(room, { type: 'userList', users: Array.from(names), timestamp: Date.now() });
}

wss.on('connection', (socket) => {
  let room;
  socket.on('message', (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.type === 'join' && message.username) {
      ({ room } = message);
      users.set(socket, message.username);
      if (!rooms.has(room)) rooms.set(room, new Map());
      rooms.get(room).set(socket, message.username);
      broadcast(room, { type: 'join', username: message.username, timestamp: Date.now() });
      broadcastUserList(room);
    } else if (message.type === 'message' && users.has(socket)) {
      broadcast(room, {
        type: 'message', username: users.get(socket), content: message.content, timestamp: Date.now(),
      });
    }
  });
  socket.on('close', () => {
    const username = users.get(socket);
    if (!username) return;
    users.delete(socket);
    rooms.get(room).delete(socket);
    broadcast(room, { type: 'leave', username, timestamp: Date.now() });
    broadcastUserList(room);
  });
  socket.on('error', console.error);
});

const server = createServer((request, response) => response.end());
server.on('upgrade', (request, socket, head) => {
  if (new URL(request.url, 'http://localhost').pathname !== '/ws') return;
  wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
