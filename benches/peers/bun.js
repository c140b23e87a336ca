// A peer for the load bench: Bun's WebSocket server (µWebSockets) with its own topics. Every message of a publisher goes
// to all subscribers as it came.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    const path = new URL(request.url).pathname;
    return server.upgrade(request, { data: { path } }) ? undefined : new Response('a WebSocket, please', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    open(ws) {
      if (ws.data.path === '/subscribe') ws.subscribe('bench');
    },
    message(ws, message) {
      if (ws.data.path === '/publish') server.publish('bench', message);
    },
  },
});
console.log(`listening on http://127.0.0.1:${server.port}`);
