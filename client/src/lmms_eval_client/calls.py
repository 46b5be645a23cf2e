"""Every request of the front end and how its answer is read, without I/O: `client` and `aio` send them."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from lmms_eval_client.errors import AnswerUnreadable
from lmms_eval_client.results import Results
from lmms_eval_core.json_text import parse_json
from lmms_eval_core.wire import (
    CancelResponse,
    EvaluateRequest,
    JobFiles,
    JobGate,
    JobInfo,
    JobList,
    JobPatch,
    JobSubmitResponse,
    JobSummary,
    Me,
    ModelList,
    QueueStatusResponse,
    SampleCard,
    SampleCardPage,
    SampleDetail,
    SamplePage,
    TaskList,
)
from lmms_eval_core.wire_comparison import JobComparison

JSON = dict[str, Any]
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)
Reader = Callable[[httpx.Response], T]

# The server sends something every 15 s on a stream of events; a log may be silent for long, and is resumed where it
# was.
EVENTS_SILENCE_SECONDS: Final = 45.0
LOG_SILENCE_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. `repeatable`: sending it twice is the same as sending it once."""

    method: str
    path: str
    read: Reader[T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    read_timeout: float | None = None


class CallPage(NamedTuple, Generic[T]):
    """A page of a list, and the cursor of the next one."""

    items: list[T]
    next_cursor: str | None


def read_json(response: httpx.Response) -> JSON:
    """Return the answer as lmms-eval's own client does."""
    try:
        answer = parse_json(response.content)
    except ValueError as error:
        raise AnswerUnreadable(f"{response.url} did not answer in JSON: {error}. Is it an lmms-eval server?") from error
    if not isinstance(answer, dict):
        raise AnswerUnreadable(f"{response.url} answered with {type(answer).__name__}: is it an lmms-eval server?")
    return answer


def make_model_reader(model: type[ModelT]) -> Reader[ModelT]:
    """Return a reader of answers as `model`."""

    def read(response: httpx.Response) -> ModelT:
        try:
            return model.model_validate(parse_json(response.content))
        except ValueError as error:
            raise AnswerUnreadable(f"{response.url} did not answer with a {model.__name__}: {error}") from error

    return read


def health() -> Call[JSON]:
    """GET /health."""
    return Call("GET", "/health", read_json)


def me() -> Call[Me]:
    """GET /me."""
    return Call("GET", "/me", make_model_reader(Me))


def queue(read: Reader[T]) -> Call[T]:
    """GET /queue."""
    return Call("GET", "/queue", read)


def tasks(read: Reader[T], *, query: str | None = None, details: bool = False) -> Call[T]:
    """GET /tasks."""
    wanted = {"q": query, "details": "true" if details else None}
    return Call("GET", "/tasks", read, params={name: value for name, value in wanted.items() if value})


def models(read: Reader[T]) -> Call[T]:
    """GET /models."""
    return Call("GET", "/models", read)


def evaluate(
    fields: Mapping[str, Any], read: Reader[T], *, dry_run: bool = False, idempotency_key: str | None = None
) -> Call[T]:
    """POST /evaluate, with a key of its own: the same job answers however often it has to be sent."""
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    params = {"dryRun": "true"} if dry_run else {}
    body = {name: value for name, value in fields.items() if value is not None}
    return Call("POST", "/evaluate", read, params=params, body=body, headers=headers)


def submit(request: EvaluateRequest, *, dry_run: bool, idempotency_key: str | None) -> Call[JobSubmitResponse]:
    """POST /evaluate from a typed request."""
    # Fields that were not set are not sent: the server would take their defaults for wanted.
    fields = request.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    return evaluate(fields, make_model_reader(JobSubmitResponse), dry_run=dry_run, idempotency_key=idempotency_key)


def job(job_id: str, read: Reader[T], *, samples: bool = False) -> Call[T]:
    """GET /jobs/{job_id}."""
    return Call("GET", _find_job_path(job_id), read, params={"include": "samples"} if samples else {})


def cancel(job_id: str, read: Reader[T]) -> Call[T]:
    """DELETE /jobs/{job_id}: once it is cancelled, another one is refused."""
    return Call("DELETE", _find_job_path(job_id), read, repeatable=False)


def update(job_id: str, changes: Mapping[str, Any]) -> Call[JobInfo]:
    """PATCH /jobs/{job_id}; ValueError for what cannot be changed. A ttl of None removes it."""
    body = JobPatch.model_validate(changes).model_dump(mode="json", exclude_unset=True)
    return Call("PATCH", _find_job_path(job_id), read_job, body=body)


def jobs(
    *, status: Iterable[str], model: str | None, task: str | None, labels: Iterable[str], page_size: int
) -> Call[CallPage[JobSummary]]:
    """GET /jobs."""
    wanted = {"status": list(status), "model": model, "task": task, "label": list(labels), "limit": page_size}
    return Call("GET", "/jobs", _read_job_page, params={name: value for name, value in wanted.items() if value})


def samples(job_id: str, task: str, *, only: str | None, page_size: int, live: bool = False) -> Call[CallPage[JSON]]:
    """GET /jobs/{job_id}/samples/{task}."""
    wanted = {"filter": only, "limit": page_size, "live": "true" if live else None}
    params = {name: value for name, value in wanted.items() if value}
    return Call("GET", _find_samples_path(job_id, task), _read_sample_page, params=params)


def explore(
    job_id: str,
    task: str,
    *,
    only: str | None,
    metrics: Iterable[str],
    search: str | None,
    sort: str | None,
    page_size: int,
) -> Call[CallPage[SampleCard]]:
    """GET /jobs/{job_id}/explore/{task}."""
    wanted = {"filter": only, "metric": list(metrics), "q": search, "sort": sort, "limit": page_size}
    path = f"{_find_job_path(job_id)}/explore/{quote(task, safe='')}"
    return Call("GET", path, _read_card_page, params={name: value for name, value in wanted.items() if value})


def sample(job_id: str, task: str, doc_id: int | str, *, filter_name: str | None) -> Call[SampleDetail]:
    """GET /jobs/{job_id}/samples/{task}/{doc_id}."""
    path = f"{_find_samples_path(job_id, task)}/{quote(str(doc_id), safe='')}"
    params = {"filter_name": filter_name} if filter_name is not None else {}
    return Call("GET", path, make_model_reader(SampleDetail), params=params)


def compare(
    job_id: str, baselines: Iterable[str], *, candidates: Iterable[str], margin: float | None, changed: int
) -> Call[JobComparison]:
    """GET /jobs/{job_id}/compare."""
    wanted = {
        "baseline": list(baselines),
        "candidate": list(candidates),
        "margin": margin,
        "changed": changed,
    }
    params = {name: value for name, value in wanted.items() if value}
    return Call("GET", f"{_find_job_path(job_id)}/compare", make_model_reader(JobComparison), params=params)


def answers(job_id: str, task: str, last_event_id: str) -> Call[None]:
    """GET /jobs/{job_id}/samples/{task}/events."""
    return _make_event_call(f"{_find_samples_path(job_id, task)}/events", last_event_id)


def results(job_id: str) -> Call[Results]:
    """GET /jobs/{job_id}/results."""
    return Call("GET", f"{_find_job_path(job_id)}/results", lambda response: Results(read_json(response)))


def events(job_id: str, last_event_id: str) -> Call[None]:
    """GET /jobs/{job_id}/events."""
    return _make_event_call(f"{_find_job_path(job_id)}/events", last_event_id)


def _make_event_call(path: str, last_event_id: str) -> Call[None]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    return Call("GET", path, _read_nothing, headers=headers, read_timeout=EVENTS_SILENCE_SECONDS)


def logs(job_id: str, params: Mapping[str, Any]) -> Call[None]:
    """GET /jobs/{job_id}/logs."""
    return Call("GET", f"{_find_job_path(job_id)}/logs", _read_nothing, params=params, read_timeout=LOG_SILENCE_SECONDS)


def files(job_id: str) -> Call[JobFiles]:
    """GET /jobs/{job_id}/files."""
    return Call("GET", f"{_find_job_path(job_id)}/files", make_model_reader(JobFiles))


def gate(job_id: str) -> Call[JobGate]:
    """GET /jobs/{job_id}/gate."""
    return Call("GET", f"{_find_job_path(job_id)}/gate", make_model_reader(JobGate))


def file(job_id: str, path: str) -> Call[None]:
    """GET /jobs/{job_id}/files/{path}."""
    return Call("GET", f"{_find_job_path(job_id)}/files/{quote(path)}", _read_nothing)


def media(job_id: str, digest: str) -> Call[None]:
    """GET /jobs/{job_id}/media/{digest}."""
    return Call("GET", f"{_find_job_path(job_id)}/media/{quote(digest, safe='')}", _read_nothing)


def log_tail(job_id: str, lines: int, attempt: int | None) -> Call[list[str]]:
    """The end of GET /jobs/{job_id}/logs."""
    params = {"tail": lines} if attempt is None else {"tail": lines, "attempt": attempt}
    return Call("GET", f"{_find_job_path(job_id)}/logs", lambda response: response.text.splitlines(), params=params)


def merge(checkpoint_path: str, output_path: str | None, checkpoint_type: str) -> Call[JSON]:
    """POST /merge."""
    body = {"checkpoint_path": checkpoint_path, "output_path": output_path, "checkpoint_type": checkpoint_type}
    return Call("POST", "/merge", read_json, body=body, repeatable=False)


def make_next_call(call: Call[CallPage[T]], page: CallPage[T]) -> Call[CallPage[T]] | None:
    """Return the call for the page after this one."""
    return replace(call, params={**call.params, "cursor": page.next_cursor}) if page.next_cursor else None


def read_cancellation(response: httpx.Response) -> str:
    """Return the server's sentence about a cancellation."""
    return make_model_reader(CancelResponse)(response).message


read_job: Final = make_model_reader(JobInfo)
read_queue: Final = make_model_reader(QueueStatusResponse)
read_tasks: Final = make_model_reader(TaskList)
read_models: Final = make_model_reader(ModelList)


def _find_job_path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _find_samples_path(job_id: str, task: str) -> str:
    return f"{_find_job_path(job_id)}/samples/{quote(task, safe='')}"


def _read_job_page(response: httpx.Response) -> CallPage[JobSummary]:
    answer = make_model_reader(JobList)(response)
    return CallPage(answer.jobs, answer.next_cursor)


def _read_sample_page(response: httpx.Response) -> CallPage[JSON]:
    answer = make_model_reader(SamplePage)(response)
    return CallPage(answer.samples, answer.next_cursor)


def _read_card_page(response: httpx.Response) -> CallPage[SampleCard]:
    answer = make_model_reader(SampleCardPage)(response)
    return CallPage(answer.cards, answer.next_cursor)


def _read_nothing(response: httpx.Response) -> None:
    """Read nothing: what is streamed is read piece by piece, by `feeds`."""
