// What a reader may do to a job: cancel, hold, move in the queue. Errors are said in the API's words.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { JobPatch } from "@/api/client";
import { cancelJob, changeJob, refreshJob } from "@/api/job";
import { useRights } from "@/api/me";
import { describeError } from "@/api/problems";
import { announce } from "@/ui/announce";
import { ConfirmDialog } from "@/ui/dialog";

const NO_RIGHT = "You may look, and not change: ask for the release's role to edit.";

function useChange(id: string, done: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: JobPatch) => changeJob(id, body),
    onSuccess: () => announce(done),
    onError: (error) => announce(describeError(error)),
    onSettled: () => refreshJob(queries, id),
  });
}

export function CancelButton({ id, running = false }: { id: string; running?: boolean }) {
  const [asked, setAsked] = useState(false);
  const may = useRights().change;
  const queries = useQueryClient();
  const cancel = useMutation({
    mutationFn: () => cancelJob(id),
    onSuccess: (answer) => announce(answer.message),
    onError: (error) => announce(describeError(error)),
    onSettled: () => refreshJob(queries, id),
  });
  return (
    <>
      <button
        type="button"
        disabled={!may || cancel.isPending}
        title={may ? undefined : NO_RIGHT}
        aria-label={`Cancel ${id}`}
        onClick={() => setAsked(true)}
      >
        Cancel
      </button>
      {asked && (
        <ConfirmDialog
          title={`Cancel ${id}?`}
          action="Cancel the run"
          onConfirm={() => cancel.mutate()}
          onClose={() => setAsked(false)}
        >
          <p>{running ? "It is stopped, and its answers so far are kept." : "It will not start."}</p>
        </ConfirmDialog>
      )}
    </>
  );
}

export function HoldButton({ id, hold }: { id: string; hold: boolean }) {
  const may = useRights().change;
  const change = useChange(id, hold ? `${id} may start.` : `${id} is on hold.`);
  return (
    <button
      type="button"
      disabled={!may || change.isPending}
      title={may ? undefined : NO_RIGHT}
      aria-label={hold ? `Release ${id}` : `Hold ${id}`}
      onClick={() => change.mutate({ hold: !hold })}
    >
      {hold ? "Release" : "Hold"}
    </button>
  );
}

export function PriorityField({ id, priority }: { id: string; priority: number }) {
  const may = useRights().change;
  const [draft, setDraft] = useState(String(priority));
  useEffect(() => setDraft(String(priority)), [priority]);
  const change = useChange(id, `The priority of ${id} is changed.`);
  const apply = () => {
    const wanted = Number(draft);
    if (!draft.trim() || !Number.isInteger(wanted)) setDraft(String(priority));
    else if (wanted !== priority) change.mutate({ priority: wanted }, { onError: () => setDraft(String(priority)) });
  };
  return (
    <label className="priority" title="Higher starts first">
      <span>Priority</span>
      <input
        type="number"
        step={1}
        value={draft}
        disabled={!may || change.isPending}
        aria-label={`Priority of ${id}`}
        onChange={(event) => setDraft(event.target.value)}
        onBlur={apply}
        onKeyDown={(event) => {
          if (event.key === "Enter") apply();
        }}
      />
    </label>
  );
}
