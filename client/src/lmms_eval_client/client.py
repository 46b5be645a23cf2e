"""The client for programs without an event loop.

`aio` is its twin; what they ask and understand is in `calls` and `feeds`.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self, TypeVar

import httpx

from lmms_eval_client import calls
from lmms_eval_client.base import DEFAULT_TIMEOUT, BaseClient, make_broken_stream_error
from lmms_eval_client.calls import JSON, Call, CallPage
from lmms_eval_client.errors import ServerRefused, make_refusal
from lmms_eval_client.feeds import AnswerFeed, EventFeed, FileFeed, LogFeed, StreamFeed
from lmms_eval_client.results import Results
from lmms_eval_client.retries import CallOutcome, Retries
from lmms_eval_client.upstream import UpstreamMethods
from lmms_eval_client.waiting import WaitDeadline, check_completed
from lmms_eval_core.wire import (
    EvaluateRequest,
    JobFile,
    JobGate,
    JobInfo,
    JobSubmitResponse,
    JobSummary,
    Me,
    ModelList,
    QueueStatusResponse,
    SampleCard,
    SampleDetail,
    TaskList,
)
from lmms_eval_core.wire_comparison import JobComparison

T = TypeVar("T")


class Client(UpstreamMethods, BaseClient):
    """A front end of lmms-eval on Kubernetes; also lmms-eval's own `EvalClient`, whose methods are in `upstream`.

    base_url: the server; LMMS_EVAL_URL, then http://localhost:8000, where it is not given. User and password in it are
    sent. timeout: seconds for each step of one request; None waits for ever. token: of the front end; before user and
    password of the URL, which come before LMMS_EVAL_TOKEN. retries: how patient it is with a server that is away or
    busy. verify, transport: as in httpx. Proxies and SSL_CERT_FILE of the environment apply.
    """

    def __init__(
        self,
        base_url: str | None = None,
        timeout: httpx.Timeout | float | None = DEFAULT_TIMEOUT,
        *,
        token: str | None = None,
        retries: Retries | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, timeout, token, retries or Retries())
        self._http = httpx.Client(transport=transport, **self._build_options(verify))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def submit(
        self, request: EvaluateRequest, *, dry_run: bool = False, idempotency_key: str | None = None
    ) -> JobSubmitResponse:
        """Submits an evaluation, which is stored when this returns. `dry_run` has all of it checked and stores nothing.

        Sent again with the same `idempotency_key`, it is the same job; without one, every call makes a job of its own.
        """
        return self._send(calls.submit(request, dry_run=dry_run, idempotency_key=idempotency_key))

    def job(self, job_id: str, *, samples: bool = False) -> JobInfo:
        """State, progress and results of a job; with `samples` the first ones of each task."""
        return self._send(calls.job(job_id, calls.read_job, samples=samples))

    def wait(
        self, job_id: str, *, timeout: float | None = None, on_change: Callable[[JobInfo], object] | None = None
    ) -> JobInfo:
        """Waits for the results. JobFailed, JobCancelled, or WaitTimedOut (up to 15 s late) after `timeout` seconds."""
        for state in self.events(job_id, timeout=timeout):
            if on_change:
                on_change(state)
            check_completed(state)
        job = self.job(job_id)
        check_completed(job)
        return job

    def cancel(self, job_id: str) -> str:
        """Cancels a job, queued or running; the server's sentence on it. RequestInvalid if it has ended."""
        return self._send(calls.cancel(job_id, calls.read_cancellation))

    def update(self, job_id: str, **changes: Any) -> JobInfo:
        """Changes `priority`, `hold`, `ttl_seconds_after_finished` or `keep` of a job."""
        return self._send(calls.update(job_id, changes))

    def jobs(
        self,
        *,
        status: Iterable[str] = (),
        model: str | None = None,
        task: str | None = None,
        labels: Iterable[str] = (),
        page_size: int = 100,
    ) -> Iterator[JobSummary]:
        """Every job, newest first. `labels` are keys, or key=value; a job has all of them, and one of the `status`."""
        return self._iterate(calls.jobs(status=status, model=model, task=task, labels=labels, page_size=page_size))

    def me(self) -> Me:
        """Who this client is to the front end, and what it may do."""
        return self._send(calls.me())

    def queue(self) -> QueueStatusResponse:
        """What runs, and what waits in which order."""
        return self._send(calls.queue(calls.read_queue))

    def tasks(self, query: str | None = None) -> TaskList:
        """Tasks, groups and tags with `query` in their names, what they are and what is in them."""
        return self._send(calls.tasks(calls.read_tasks, query=query, details=True))

    def models(self) -> ModelList:
        """Model adapters, and which of them the evaluator image cannot use."""
        return self._send(calls.models(calls.read_models))

    def events(self, job_id: str, *, timeout: float | None = None) -> Iterator[JobInfo]:
        """The state of a job now and after every change, until it has ended; a broken connection is taken up again."""
        return self._follow(EventFeed(job_id), WaitDeadline(job_id, timeout, time.monotonic()))

    def stream_logs(
        self, job_id: str, *, attempt: int | None = None, follow: bool = True, offset: int = 0
    ) -> Iterator[str]:
        """The lines of an attempt's log, of the last one if none is named; `follow` waits for more until its end.

        `offset` skips that many bytes. A broken connection is taken up again where it was.
        """
        feed = LogFeed(job_id, attempt=attempt, follow=follow, offset=offset)
        return self._follow(feed, WaitDeadline(job_id, None, 0))

    def log_tail(self, job_id: str, lines: int, *, attempt: int | None = None) -> list[str]:
        """The last lines of an attempt's log."""
        return self._send(calls.log_tail(job_id, lines, attempt))

    def results(self, job_id: str) -> Results:
        """The results of a job; NotFound while there are none."""
        return self._send(calls.results(job_id))

    def samples(
        self,
        job_id: str,
        task: str,
        *,
        only: Literal["wrong", "empty"] | None = None,
        live: bool = False,
        page_size: int = 100,
    ) -> Iterator[JSON]:
        """The samples of a task, each as lmms-eval wrote it; `only` those with a wrong or an empty answer.

        Of a job that was cancelled or has failed, the answers until then, and with `live` those so far of a job that
        runs: `scored` is False in each.
        """
        return self._iterate(calls.samples(job_id, task, only=only, page_size=page_size, live=live))

    def explore(
        self,
        job_id: str,
        task: str,
        *,
        only: str | None = None,
        metrics: Iterable[str] = (),
        search: str | None = None,
        sort: str | None = None,
        page_size: int = 100,
    ) -> Iterator[SampleCard]:
        """Cards of a task's samples, in the file's order, or by `sort`: a metric, `tokens` or `length`, and with `-`
        before it the largest first.

        `metrics` are conditions, as `acc<0.5`. `search` is a text in prompt, target or answer; it goes without `sort`.
        NotFound for a job without an index: `samples` reads that.
        """
        call = calls.explore(job_id, task, only=only, metrics=metrics, search=search, sort=sort, page_size=page_size)
        return self._iterate(call)

    def sample(self, job_id: str, task: str, doc_id: int | str, *, filter_name: str | None = None) -> SampleDetail:
        """One sample and its card; `filter_name` is needed where a task has several filters."""
        return self._send(calls.sample(job_id, task, doc_id, filter_name=filter_name))

    def compare(
        self,
        job_id: str,
        *baselines: str,
        candidates: Iterable[str] = (),
        margin: float | None = None,
        changed: int = 0,
    ) -> JobComparison:
        """A job document by document beside its baselines: differences, intervals, and what speaks against comparing.

        `candidates` are further jobs to compare with the same baselines. `margin`, in the units of the metrics, asks
        how many documents show that no more is lost. `changed` lists so many documents that were lost, and as many
        that were won.
        """
        call = calls.compare(job_id, baselines, candidates=candidates, margin=margin, changed=changed)
        return self._send(call)

    def stream_answers(self, job_id: str, task: str) -> Iterator[JSON]:
        """The answers of a task, those so far and those to come, until the job has ended; nothing in them is scored.

        A broken connection is taken up again where it was.
        """
        return self._follow(AnswerFeed(job_id, task), WaitDeadline(job_id, None, 0))

    def gate(self, job_id: str) -> JobGate:
        """What the gate of a job says; without a verdict until the job has ended."""
        return self._send(calls.gate(job_id))

    def files(self, job_id: str) -> list[JobFile]:
        """The files that the tasks of a job wrote themselves, such as a submission to a test server."""
        return self._send(calls.files(job_id)).files

    def file(self, job_id: str, path: str) -> Iterator[bytes]:
        """The content of one of `files`, piece by piece; a broken connection is taken up again where it was."""
        return self._follow(FileFeed(calls.file(job_id, path)), WaitDeadline(job_id, None, 0))

    def media(self, job_id: str, digest: str) -> Iterator[bytes]:
        """An image, a video or a sound of a sample, piece by piece; NotFound if it is no longer kept.

        `digest` is `thumb`, `display` or `original` of an item of `SampleCard.media`.
        """
        return self._follow(FileFeed(calls.media(job_id, digest)), WaitDeadline(job_id, None, 0))

    def _send(self, call: Call[T]) -> T:
        """Make the call until it is answered, or its retries are used up."""
        attempt = 1
        while True:
            outcome = self._try(call)
            pause = self._find_pause(call, outcome, attempt)
            if pause is None:
                return self._read_outcome(call, outcome)
            time.sleep(pause)
            attempt += 1

    def _try(self, call: Call[Any]) -> CallOutcome:
        try:
            return self._http.send(self._build_request(self._http, call))
        except httpx.TransportError as error:
            return error

    def _iterate(self, call: Call[CallPage[T]]) -> Iterator[T]:
        next_call: Call[CallPage[T]] | None = call
        while next_call:
            page = self._send(next_call)
            yield from page.items
            next_call = calls.make_next_call(call, page)

    def _follow(self, feed: StreamFeed[T], deadline: WaitDeadline) -> Iterator[T]:
        """Read a feed to its end, over as many connections as that takes."""
        attempt = 0
        while not feed.ended:
            attempt += 1
            try:
                with self._open_stream(feed, deadline) as response:
                    for piece in response.iter_bytes():
                        attempt = 0
                        yield from feed.read(piece)
                        deadline.check(time.monotonic())
                    yield from feed.finish_connection()
                    outcome: CallOutcome = make_broken_stream_error(response)
            except ServerRefused as refused:
                outcome = refused.response
            except httpx.TransportError as error:
                outcome = error
            if not feed.ended:
                deadline.check(time.monotonic())
                time.sleep(self._find_stream_pause(outcome, max(attempt, 1)))

    @contextmanager
    def _open_stream(self, feed: StreamFeed[Any], deadline: WaitDeadline) -> Iterator[httpx.Response]:
        request = self._build_request(self._http, feed.make_call(), longest=deadline.seconds_left(time.monotonic()))
        response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise make_refusal(response)
            feed.start_connection(response)
            yield response
        finally:
            response.close()


@contextmanager
def forward_request(
    client: Client, method: str, path: str, *, headers: httpx.Headers, content: bytes = b""
) -> Iterator[httpx.Response]:
    """Sends a request as it is, with the client's token, and yields its answer, whatever that is, as it arrives.

    For the program that passes on what a browser requests. Raises ServerUnreachable.
    """
    timeout = httpx.Timeout(**client._timeout.as_dict() | {"read": calls.LOG_SILENCE_SECONDS})
    request = client._http.build_request(
        method, client.base_url + path, headers=headers, content=content, timeout=timeout
    )
    try:
        answer = client._http.send(request, stream=True)
    except httpx.TransportError as error:
        raise client._make_error(error) from error
    try:
        yield answer
    finally:
        answer.close()
