import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Where `npm run dev` finds a front end: `kubectl port-forward`, or one on this machine.
const FRONT_END = process.env.LMMS_EVAL_URL ?? "http://127.0.0.1:8000";
const ROUTES = "^/(jobs|evaluate|tasks|models|queue|health|me|events|ui/login|ui/session)";

export default defineConfig({
  // Relative to the <base> that the front end fills in: a bundle knows no rootPath.
  base: "./",
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  plugins: [react()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    // The polyfill is for browsers without module preload, which the target excludes.
    modulePreload: { polyfill: false },
    manifest: true,
  },
  server: { proxy: { [ROUTES]: { target: FRONT_END, changeOrigin: false } } },
  test: { include: ["tests/unit/**/*.test.ts"] },
});
