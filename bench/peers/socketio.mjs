// Socket.IO on Node: rooms, one event for a message.
//
//     node socketio.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });

io.on('connection', (socket) => {
  socket.on('join', ({ room, username }, done) => {
    socket.data.username = username;
    socket.join(room);
    done();
  });
  socket.on('message', ({ room, content }) => {
    io.to(room).emit('message', { username: socket.data.username, content, timestamp: Date.now() });
  });
});

http.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
