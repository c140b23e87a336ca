// A peer for the load bench: Node with the package ws. Every message of a publisher goes to all subscribers as it came.
const { WebSocketServer } = require('ws');

const subscribers = new Set();
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket, request) => {
  socket._socket.setNoDelay(true);
  if (request.url.startsWith('/subscribe')) {
    subscribers.add(socket);
    socket.on('close', () => subscribers.delete(socket));
  }
  if (request.url.startsWith('/publish')) {
    socket.on('message', (message) => {
      for (const subscriber of subscribers) subscriber.send(message, { binary: false });
    });
  }
  socket.on('error', () => socket.terminate());
});
server.on('listening', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
