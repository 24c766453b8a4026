// The network between a browser and the hub: a TCP proxy that can be taken down. Playwright's
// `setOffline` leaves open connections as they are.

import { connect, createServer } from "node:net";
import { once } from "node:events";

export class Network {
  /** Carries connections to `port` until the test `t` ends. */
  static async start(t, port) {
    const network = new Network();
    network.#server = createServer((client) => network.#carry(client, port));
    network.#server.listen(0, "127.0.0.1");
    await once(network.#server, "listening");
    t.after(() => {
      network.down();
      network.#server.close();
    });
    return network;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Cuts every connection, and every new one, until `up`. */
  down() {
    this.#isDown = true;
    // Not `resetAndDestroy`: it leaves a socket open for ever whose other end is just ending, too.
    for (const socket of this.#clients) socket.destroy();
  }

  up() {
    this.#isDown = false;
  }

  #carry(client, port) {
    if (this.#isDown) return client.destroy();
    const hub = connect(port, "127.0.0.1");
    this.#clients.add(client);
    client.on("close", () => {
      this.#clients.delete(client);
      hub.destroy();
    });
    hub.on("close", () => client.destroy());
    for (const socket of [client, hub]) socket.on("error", () => {});
    client.pipe(hub).pipe(client);
  }

  #server;
  #isDown = false;
  #clients = new Set();
}
