// The one way to the API: typed by its OpenAPI document; errors are ApiProblems, and a lost session leads to sign-in.

import createClient, { type Middleware } from "openapi-fetch";
import { apiPath, goToSignIn } from "./base";
import { noteAge } from "./freshness";
import { ApiProblem, readProblem } from "./problems";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type JobSummary = Schemas["JobSummary"];
export type JobInfo = Schemas["JobInfo"];
export type JobList = Schemas["JobList"];
export type JobStatus = Schemas["JobStatus"];
export type JobPatch = Schemas["JobPatch"];
export type Attempt = Schemas["Attempt"];
export type Progress = Schemas["Progress"];
export type LiveAnswer = Schemas["LiveAnswer"];
export type SampleCard = Schemas["SampleCard"];
export type SampleCardPage = Schemas["SampleCardPage"];
export type SampleDetail = Schemas["SampleDetail"];
export type SamplePage = Schemas["SamplePage"];
export type EvaluateRequest = Schemas["EvaluateRequest"];
export type SubmitResponse = Schemas["JobSubmitResponse"];
export type ListedTask = Schemas["ListedTask"];
export type ListedModel = Schemas["ListedModel"];
export type JobComparison = Schemas["JobComparison"];
export type RunComparison = Schemas["RunComparison"];
export type ComparedMetric = Schemas["ComparedMetric"];
export type ComparedSample = Schemas["ComparedSample"];
export type ComparedSamplePage = Schemas["ComparedSamplePage"];
export type ComparisonFinding = Schemas["ComparisonFinding"];

export const client = createClient<paths>({
  baseUrl: apiPath,
  credentials: "same-origin",
  // ?status=a&status=b, as FastAPI reads lists.
  querySerializer: { array: { style: "form", explode: true } },
});

const watchAnswers: Middleware = {
  onResponse({ response }) {
    if (response.status === 401) goToSignIn();
    noteAge(response);
    return undefined;
  },
};
client.use(watchAnswers);

interface Outcome<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

/** The data of an answer; throws an ApiProblem for an error. */
export async function unwrap<Data>(request: Promise<Outcome<Data>>): Promise<Data> {
  const { data, error, response } = await request;
  if (!response.ok) throw readProblem(response, error);
  if (data === undefined) throw new ApiProblem(response.status, "The front end's answer is empty.");
  return data;
}
