// Submitting, from nothing or as an earlier run was.

import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { jobQuery } from "@/api/job";
import { SubmitForm } from "@/features/submit/form";
import { draftOf, emptyDraft } from "@/lib/draft";
import { useKeys } from "@/ui/keys";
import { Loading } from "@/ui/states";
import { Line } from "@/ui/text";

const route = getRouteApi("/submit");

export function SubmitPage() {
  const { from } = route.useSearch();
  const navigate = route.useNavigate();
  useKeys([{ keys: "Escape", does: "Back to the runs", run: () => void navigate({ to: "/runs" }) }]);
  return (
    <div className="page">
      <title>Submit · lmms-eval</title>
      <h1>{from ? <>Run {<Line text={from} most={80} />} again</> : "Submit an evaluation"}</h1>
      {from ? <Repeated key={from} from={from} /> : <SubmitForm key="" initial={emptyDraft()} />}
    </div>
  );
}

function Repeated({ from }: { from: string }) {
  const query = useQuery(jobQuery(from));
  return <Loading query={query}>{(job) => <SubmitForm initial={draftOf(job.request)} />}</Loading>;
}
