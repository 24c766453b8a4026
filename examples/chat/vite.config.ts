import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The page's own server answers `/api`; everything else that it reads, it reads from the hub.
export default defineConfig({
  plugins: [react()],
  server: { proxy: { "/api": process.env.API ?? "http://127.0.0.1:3000" } },
});
