import react from "@vitejs/plugin-react";
import { defineConfig, type ProxyOptions } from "vite";

// The page asks its own origin for `/channels/…`; Vite passes that on to the hub, as a reverse
// proxy does in production.
const hub: ProxyOptions = {
  target: process.env.FANFARE_URL ?? "http://127.0.0.1:8080",
  configure(proxy) {
    // An EventSource comes back after a connection that breaks, but gives up at the status 500 that
    // Vite would answer while there is no hub, and waits for ever where Vite would pass no end on.
    proxy.on("error", (_error, _request, answer) => answer.destroy());
    proxy.on("proxyRes", (fromHub, _request, answer) => {
      fromHub.on("error", () => answer.destroy());
    });
  },
};
const proxy = { "/channels": hub };

export default defineConfig({ plugins: [react()], server: { proxy }, preview: { proxy } });
