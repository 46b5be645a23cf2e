// What the API answers when it refuses: problem details (RFC 9457), with the sentence that a reader is shown.

export interface FieldError {
  /** JSON pointer into the body, without its #: /tasks/0. */
  pointer: string;
  detail: string;
}

export class ApiProblem extends Error {
  override name = "ApiProblem";

  constructor(
    readonly status: number,
    detail: string,
    readonly fields: FieldError[] = [],
    /** Seconds after which it is worth trying again. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }
}

/** The problem in an answer whose body is `body`, whatever a proxy made of it. */
export function readProblem(response: Response, body: unknown): ApiProblem {
  const seconds = Number(response.headers.get("Retry-After"));
  const retryAfter = seconds > 0 && Number.isFinite(seconds) ? seconds : null;
  const problem = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  return new ApiProblem(response.status, readDetail(problem.detail, response), readFields(problem.errors), retryAfter);
}

function readDetail(detail: unknown, response: Response): string {
  if (typeof detail === "string" && detail) return detail;
  if (Array.isArray(detail)) {
    const sentences = detail.map((item) => String((item as { msg?: unknown } | null)?.msg ?? "")).filter(Boolean);
    if (sentences.length) return sentences.join(" ");
  }
  return `The front end answered ${response.status} ${response.statusText}`.trimEnd();
}

function readFields(errors: unknown): FieldError[] {
  if (!Array.isArray(errors)) return [];
  return errors.flatMap((item: unknown) => {
    const { pointer, detail } = (item ?? {}) as Partial<FieldError>;
    return typeof pointer === "string" && typeof detail === "string"
      ? [{ pointer: pointer.replace(/^#/, ""), detail }]
      : [];
  });
}

/** The sentence of any error; of the network's, what it means. */
export function describeError(error: unknown): string {
  if (error instanceof ApiProblem) return error.message;
  if (error instanceof TypeError) return "The front end does not answer. What is shown is what it answered last.";
  return error instanceof Error ? error.message : String(error);
}
