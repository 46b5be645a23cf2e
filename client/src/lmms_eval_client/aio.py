"""The client for programs with an event loop: `client`'s twin, method by method."""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, Self, TypeVar

import httpx

from lmms_eval_client import calls
from lmms_eval_client.base import DEFAULT_TIMEOUT, BaseClient, make_broken_stream_error
from lmms_eval_client.calls import JSON, Call, CallPage
from lmms_eval_client.errors import ServerRefused, make_refusal
from lmms_eval_client.feeds import AnswerFeed, EventFeed, FileFeed, LogFeed, StreamFeed
from lmms_eval_client.results import Results
from lmms_eval_client.retries import CallOutcome, Retries
from lmms_eval_client.upstream import AsyncUpstreamMethods
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


class AsyncClient(AsyncUpstreamMethods, BaseClient):
    """As `Client`, in arguments and methods.

    Iterators are async generators here: `contextlib.aclosing` around one that is left early closes its connection.
    """

    def __init__(
        self,
        base_url: str | None = None,
        timeout: httpx.Timeout | float | None = DEFAULT_TIMEOUT,
        *,
        token: str | None = None,
        retries: Retries | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, timeout, token, retries or Retries())
        self._http = httpx.AsyncClient(transport=transport, **self._build_options(verify))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._http.aclose()

    async def submit(
        self, request: EvaluateRequest, *, dry_run: bool = False, idempotency_key: str | None = None
    ) -> JobSubmitResponse:
        """As `Client.submit`."""
        return await self._send(calls.submit(request, dry_run=dry_run, idempotency_key=idempotency_key))

    async def job(self, job_id: str, *, samples: bool = False) -> JobInfo:
        """As `Client.job`."""
        return await self._send(calls.job(job_id, calls.read_job, samples=samples))

    async def wait(
        self, job_id: str, *, timeout: float | None = None, on_change: Callable[[JobInfo], object] | None = None
    ) -> JobInfo:
        """As `Client.wait`."""
        async with aclosing(self.events(job_id, timeout=timeout)) as states:
            async for state in states:
                if on_change:
                    on_change(state)
                check_completed(state)
        job = await self.job(job_id)
        check_completed(job)
        return job

    async def cancel(self, job_id: str) -> str:
        """As `Client.cancel`."""
        return await self._send(calls.cancel(job_id, calls.read_cancellation))

    async def update(self, job_id: str, **changes: Any) -> JobInfo:
        """As `Client.update`."""
        return await self._send(calls.update(job_id, changes))

    def jobs(
        self,
        *,
        status: Iterable[str] = (),
        model: str | None = None,
        task: str | None = None,
        labels: Iterable[str] = (),
        page_size: int = 100,
    ) -> AsyncGenerator[JobSummary, None]:
        """As `Client.jobs`."""
        return self._iterate(calls.jobs(status=status, model=model, task=task, labels=labels, page_size=page_size))

    async def me(self) -> Me:
        """As `Client.me`."""
        return await self._send(calls.me())

    async def queue(self) -> QueueStatusResponse:
        """As `Client.queue`."""
        return await self._send(calls.queue(calls.read_queue))

    async def tasks(self, query: str | None = None) -> TaskList:
        """As `Client.tasks`."""
        return await self._send(calls.tasks(calls.read_tasks, query=query, details=True))

    async def models(self) -> ModelList:
        """As `Client.models`."""
        return await self._send(calls.models(calls.read_models))

    def events(self, job_id: str, *, timeout: float | None = None) -> AsyncGenerator[JobInfo, None]:
        """As `Client.events`."""
        return self._follow(EventFeed(job_id), WaitDeadline(job_id, timeout, time.monotonic()))

    def stream_logs(
        self, job_id: str, *, attempt: int | None = None, follow: bool = True, offset: int = 0
    ) -> AsyncGenerator[str, None]:
        """As `Client.stream_logs`."""
        feed = LogFeed(job_id, attempt=attempt, follow=follow, offset=offset)
        return self._follow(feed, WaitDeadline(job_id, None, 0))

    async def log_tail(self, job_id: str, lines: int, *, attempt: int | None = None) -> list[str]:
        """As `Client.log_tail`."""
        return await self._send(calls.log_tail(job_id, lines, attempt))

    async def results(self, job_id: str) -> Results:
        """As `Client.results`."""
        return await self._send(calls.results(job_id))

    def samples(
        self,
        job_id: str,
        task: str,
        *,
        only: Literal["wrong", "empty"] | None = None,
        live: bool = False,
        page_size: int = 100,
    ) -> AsyncGenerator[JSON, None]:
        """As `Client.samples`."""
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
    ) -> AsyncGenerator[SampleCard, None]:
        """As `Client.explore`."""
        call = calls.explore(job_id, task, only=only, metrics=metrics, search=search, sort=sort, page_size=page_size)
        return self._iterate(call)

    async def sample(
        self, job_id: str, task: str, doc_id: int | str, *, filter_name: str | None = None
    ) -> SampleDetail:
        """As `Client.sample`."""
        return await self._send(calls.sample(job_id, task, doc_id, filter_name=filter_name))

    async def compare(
        self,
        job_id: str,
        *baselines: str,
        candidates: Iterable[str] = (),
        margin: float | None = None,
        changed: int = 0,
    ) -> JobComparison:
        """As `Client.compare`."""
        call = calls.compare(job_id, baselines, candidates=candidates, margin=margin, changed=changed)
        return await self._send(call)

    def stream_answers(self, job_id: str, task: str) -> AsyncGenerator[JSON, None]:
        """As `Client.stream_answers`."""
        return self._follow(AnswerFeed(job_id, task), WaitDeadline(job_id, None, 0))

    async def gate(self, job_id: str) -> JobGate:
        """As `Client.gate`."""
        return await self._send(calls.gate(job_id))

    async def files(self, job_id: str) -> list[JobFile]:
        """As `Client.files`."""
        return (await self._send(calls.files(job_id))).files

    def file(self, job_id: str, path: str) -> AsyncGenerator[bytes, None]:
        """As `Client.file`."""
        return self._follow(FileFeed(calls.file(job_id, path)), WaitDeadline(job_id, None, 0))

    def media(self, job_id: str, digest: str) -> AsyncGenerator[bytes, None]:
        """As `Client.media`."""
        return self._follow(FileFeed(calls.media(job_id, digest)), WaitDeadline(job_id, None, 0))

    async def _send(self, call: Call[T]) -> T:
        """Make the call until it is answered, or its retries are used up."""
        attempt = 1
        while True:
            outcome = await self._try(call)
            pause = self._find_pause(call, outcome, attempt)
            if pause is None:
                return self._read_outcome(call, outcome)
            await asyncio.sleep(pause)
            attempt += 1

    async def _try(self, call: Call[Any]) -> CallOutcome:
        try:
            return await self._http.send(self._build_request(self._http, call))
        except httpx.TransportError as error:
            return error

    async def _iterate(self, call: Call[CallPage[T]]) -> AsyncGenerator[T, None]:
        next_call: Call[CallPage[T]] | None = call
        while next_call:
            page = await self._send(next_call)
            for item in page.items:
                yield item
            next_call = calls.make_next_call(call, page)

    async def _follow(self, feed: StreamFeed[T], deadline: WaitDeadline) -> AsyncGenerator[T, None]:
        """Read a feed to its end, over as many connections as that takes."""
        attempt = 0
        while not feed.ended:
            attempt += 1
            try:
                async with self._open_stream(feed, deadline) as response:
                    async for piece in response.aiter_bytes():
                        attempt = 0
                        for item in feed.read(piece):
                            yield item
                        deadline.check(time.monotonic())
                    for item in feed.finish_connection():
                        yield item
                    outcome: CallOutcome = make_broken_stream_error(response)
            except ServerRefused as refused:
                outcome = refused.response
            except httpx.TransportError as error:
                outcome = error
            if not feed.ended:
                deadline.check(time.monotonic())
                await asyncio.sleep(self._find_stream_pause(outcome, max(attempt, 1)))

    @asynccontextmanager
    async def _open_stream(self, feed: StreamFeed[Any], deadline: WaitDeadline) -> AsyncIterator[httpx.Response]:
        request = self._build_request(self._http, feed.make_call(), longest=deadline.seconds_left(time.monotonic()))
        response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                await response.aread()
                raise make_refusal(response)
            feed.start_connection(response)
            yield response
        finally:
            await response.aclose()
