// What the evaluator image knows: tasks by what one types, models once.

import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { client, type ListedModel, type ListedTask, unwrap } from "./client";

const MINUTES = 60_000;

export function tasksQuery(search: string) {
  return queryOptions({
    queryKey: ["tasks", search],
    queryFn: async ({ signal }) => {
      const { tasks, error } = await unwrap(
        client.GET("/tasks", { params: { query: { q: search, details: true } }, signal }),
      );
      return { tasks: tasks.filter((task): task is ListedTask => typeof task === "object"), error: error ?? null };
    },
    staleTime: 10 * MINUTES,
    placeholderData: keepPreviousData,
  });
}

export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: async ({ signal }) => {
    const { models, error } = await unwrap(client.GET("/models", { params: { query: { details: true } }, signal }));
    return { models: models.filter((model): model is ListedModel => typeof model === "object"), error: error ?? null };
  },
  staleTime: 10 * MINUTES,
});
