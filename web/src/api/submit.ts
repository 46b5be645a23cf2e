// Submitting, and having a request checked without storing it.

import { client, type EvaluateRequest, unwrap } from "./client";

type Wanted = Pick<EvaluateRequest, "model" | "tasks"> & Record<string, unknown>;

export function submitRequest(body: Wanted, options: { dryRun?: boolean; key?: string; signal?: AbortSignal }) {
  const { dryRun = false, key, signal } = options;
  return unwrap(
    client.POST("/evaluate", {
      params: { query: { dryRun }, ...(key ? { header: { "Idempotency-Key": key } } : {}) },
      // The generated type demands what has a default too.
      body: body as EvaluateRequest,
      ...(signal ? { signal } : {}),
    }),
  );
}
