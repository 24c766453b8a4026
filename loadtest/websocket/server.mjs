// One channel over WebSocket, as a program on the library `ws` has it: what is posted is sent to
// everybody who is connected. `fanfare-loadtest --target websocket --url …` loads it.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

let published = 0;
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const event = Buffer.concat(chunks);
  for (const client of sockets.clients) client.send(event, { binary: false });
  published += 1;
  const body = JSON.stringify({ id: String(published), subscribers: sockets.clients.size });
  response.writeHead(200, { "Content-Length": body.length }).end(body);
});
const sockets = new WebSocketServer({ server });
server.listen({ port: Number(process.argv[2] ?? 8090), host: "127.0.0.1", backlog: 4096 });
