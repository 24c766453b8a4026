import react from "@vitejs/plugin-react";
import { defineConfig, type ProxyOptions } from "vite";

// The app's own server answers `/api`, the streams as well.
const api: ProxyOptions = {
  target: process.env.API ?? "http://127.0.0.1:3000",
  configure(proxy) {
    // A stream that breaks off breaks off in the page, too; Vite alone would leave it open.
    proxy.on("proxyRes", (fromApi, _request, answer) => {
      fromApi.on("error", () => answer.destroy());
    });
  },
};

export default defineConfig({ plugins: [react()], server: { proxy: { "/api": api } } });
