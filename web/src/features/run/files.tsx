// What the run left in the store. Files of a run are attachments: nothing of them is shown as a page.

import { useQuery } from "@tanstack/react-query";
import { apiUrl } from "@/api/base";
import type { JobInfo } from "@/api/client";
import { filesQuery } from "@/api/job";
import { formatBytes } from "@/lib/format";
import { Empty, Loading } from "@/ui/states";
import { Line } from "@/ui/text";

export function Files({ job }: { job: JobInfo }) {
  const root = `/jobs/${encodeURIComponent(job.job_id)}`;
  const samples = Object.keys(job.links?.samples ?? {});
  return (
    <>
      <section aria-labelledby="own-files">
        <h2 id="own-files">Log, results and samples</h2>
        <ul className="links">
          <Download path={`${root}/logs`} name={`${job.job_id}.log`} text="The log" />
          {job.links?.results && <Download path={`${root}/results`} name="results.json" text="The results file" />}
          {samples.map((task) => (
            <Download
              key={task}
              path={`${root}/samples/${encodeURIComponent(task)}?limit=500`}
              name={`${task}.json`}
              text={`Samples of ${task} (the first 500)`}
            />
          ))}
        </ul>
        {samples.length > 0 && (
          <p className="quiet">
            <code>lmmeval samples</code> writes all of them.
          </p>
        )}
      </section>
      {job.links?.files && <TaskFiles job={job} />}
    </>
  );
}

function Download({ path, name, text }: { path: string; name: string; text: string }) {
  return (
    <li>
      <a href={apiUrl(path)} download={name}>
        <Line text={text} />
      </a>
    </li>
  );
}

const encodePath = (path: string) => path.split("/").map(encodeURIComponent).join("/");

function TaskFiles({ job }: { job: JobInfo }) {
  const query = useQuery(filesQuery(job.job_id));
  return (
    <section aria-labelledby="task-files">
      <h2 id="task-files">Written by tasks</h2>
      <Loading query={query}>
        {({ files, truncated }) => (
          <>
            {!files.length && <Empty>The tasks wrote no files of their own.</Empty>}
            <ul className="links">
              {files.map((file) => (
                <li key={file.path}>
                  <a href={apiUrl(`/jobs/${encodeURIComponent(job.job_id)}/files/${encodePath(file.path)}`)} download>
                    <Line text={file.path} most={200} />
                  </a>
                  <span className="quiet">{formatBytes(file.stored_bytes)} stored</span>
                </li>
              ))}
            </ul>
            {truncated && <p className="quiet">Something that it left was too much to be stored.</p>}
          </>
        )}
      </Loading>
    </section>
  );
}
