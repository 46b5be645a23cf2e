import { expect, test } from "vitest";
import { describeError, readProblem } from "@/api/problems";

function response(status: number, headers: Record<string, string> = {}): Response {
  return new Response(null, { status, statusText: "Odd", headers });
}

test("a problem has its sentence, its fields, and when to try again", () => {
  const body = {
    detail: [{ type: "value_error", loc: ["body", "limit"], msg: "must be greater than 0" }],
    errors: [{ pointer: "#/limit", detail: "must be greater than 0" }, { pointer: 7 }, null],
  };
  const problem = readProblem(response(422, { "Retry-After": "5" }), body);
  expect(problem.message).toBe("must be greater than 0");
  expect(problem.fields).toEqual([{ pointer: "/limit", detail: "must be greater than 0" }]);
  expect(problem.retryAfter).toBe(5);
  expect(describeError(problem)).toBe("must be greater than 0");
});

test.each([[null], ["<html>Bad Gateway</html>"], [{ detail: 7 }], [{ detail: [] }]])(
  "an answer that a proxy made of it, as %j, is an error too",
  (body) => {
    expect(readProblem(response(502), body).message).toBe("The front end answered 502 Odd");
    expect(readProblem(response(502, { "Retry-After": "soon" }), body).retryAfter).toBeNull();
  },
);

test("a network that fails is said as that", () => {
  expect(describeError(new TypeError("Failed to fetch"))).toMatch(/does not answer/);
});
