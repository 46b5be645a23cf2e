// Starts the page.

import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import { queries } from "@/api/queries";
import { router } from "@/router";
import { listenToKeys } from "@/ui/keys";
import { applyStoredTheme } from "@/ui/theme";
import "@/styles/index.css";

applyStoredTheme();
listenToKeys();
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <QueryClientProvider client={queries}>
      <RouterProvider router={router} />
    </QueryClientProvider>,
  );
}
