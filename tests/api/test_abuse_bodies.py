"""Bodies, paths and headers that mean harm, from one seed, at a real front end on a real API server.

Never a 5xx, never a hang, nothing executed, nothing of our insides told; and what is stored is what was sent.
"""

import itertools
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from abuse import ABUSE_FACTOR, INTERNAL_TEXTS, MAX_ANSWER_SECONDS, list_injections
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from plain_http import NO_TLS

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.wire import EvaluateRequest, JobPatch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60 + 240 * ABUSE_FACTOR)]

SEED = 5
COUNT = int(600 * ABUSE_FACTOR)
INJECTED = "X-Injected"
VALID: dict[str, Any] = {"model": "llava_hf", "tasks": ["mme"]}


@pytest.fixture
def front_end(start_front_end: StartFrontEnd) -> FrontEnd:
    started = start_front_end(LMMS_EVAL_API_REQUESTS_PER_SECOND="0", LMMS_EVAL_API_SUBMISSIONS_PER_MINUTE="0")
    started.wait_until_ready()
    return started


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[str]:
    """A file that exists as soon as anything that was sent is run; its path is in what is sent."""
    path = tmp_path / "canary"
    yield str(path)
    assert not path.exists(), "something that was sent has been executed"


def fine(answer: httpx.Response) -> bool:
    """No failure of ours, JSON for whoever asked for it, no header of the caller's, and nothing of our insides."""
    assert answer.status_code < 500 or answer.status_code == 501, f"{answer.request.url}: {answer.text}"
    assert answer.elapsed.total_seconds() < MAX_ANSWER_SECONDS
    assert not [word for word in INTERNAL_TEXTS if word in answer.text], answer.text
    assert INJECTED not in answer.headers
    if answer.headers.get("Content-Type", "").endswith("json"):
        answer.json()
    return True


STRANGE: list[Any] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\U0001f600" * 50,
    "e\u0301\u202e\u200b\ufeff",
    "\u2028\u2029",
    "\x1b[2J\x1b]0;title\x07",
    f"a\r\n{INJECTED}: yes",
    f"a\r\n\r\nHTTP/1.1 200 OK\r\n{INJECTED}: yes\r\n\r\n",
    "\x7f\x80\x9f",
    "a" * 300,
    "a" * 70_000,
    "../../../../etc/passwd",
    "/etc/shadow",
    "file:///etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "\\\\host\\share",
    "C:\\con",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    "%s%s%s%n",
    "-", "--help", "-rf /", "=,=", "a=b,c=d", "a,b", "{}", "[]", "null", "NaN", "true",
    0, -1, 1, -0.0, 0.5, 1e308, -1e308, 1e-400, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**300, -(10**4000),
    float("nan"), float("inf"), float("-inf"),
    True, False, None, [], {}, [[]], [None], [{}], {"": ""}, {"a": None}, {"a": {"b": {"c": [1, "2", None]}}},
]  # fmt: skip


def deep(depth: int, kind: str) -> str:
    return "[" * depth + "]" * depth if kind == "list" else '{"a":' * depth + "1" + "}" * depth


def text_of(value: Any) -> bytes:
    """JSON as Python writes it: halves of characters and NaN included."""
    return json.dumps(value).encode()


def fields() -> list[str]:
    return [*EvaluateRequest.model_fields, "unknown", "__proto__", "spec", "apiVersion"]


def fuzzed(source: random.Random, strange: list[Any]) -> dict[str, Any]:
    """A good body with one to three fields gone bad."""
    body = dict(VALID)
    for name in source.sample(fields(), source.randint(1, 3)):
        value = source.choice(strange)
        body[name] = source.choice(shapes(source, value))()
    return body


def shapes(source: random.Random, value: Any) -> list[Callable[[], Any]]:
    """What makes a field of the value: as it is, or inside something."""
    return [
        lambda: value,
        lambda: value,
        lambda: [value],
        lambda: [VALID, value],
        lambda: {source.choice(["pretrained", "a", "", "constructor", "api_key"]): value},
        lambda: {str(value)[:200]: "a"},
        lambda: [{"name": value, "value": value}],
    ]


def test_bodies_that_mean_harm(front_end: FrontEnd, canary: str) -> None:
    source = random.Random(SEED)
    strange = [*STRANGE, *list_injections(canary) * 3]
    answers: list[int] = []
    with front_end.session() as session:
        for _ in range(COUNT):
            body = fuzzed(source, strange)
            answer = session.post("/evaluate", content=text_of(body), headers={"Content-Type": "application/json"})
            assert fine(answer), body
            answers.append(answer.status_code)
            if answer.status_code == 200 and source.random() < 0.3:
                job = answer.json()["job_id"]
                for path in (f"/jobs/{job}", "/jobs?limit=5", f"/jobs/{job}/logs", f"/jobs/{job}/results"):
                    assert fine(session.get(path))
        assert session.get("/queue").status_code == 200
    # Both sides of the border have been seen.
    assert set(answers) <= {200, 400, 403, 409, 413, 422}
    assert min(answers.count(200), answers.count(422)) > COUNT / 40
    assert front_end.process.poll() is None
    assert "Traceback" not in front_end.log.read_text()


def test_changes_that_mean_harm(front_end: FrontEnd, canary: str) -> None:
    """Every field with every value, and then some of them together."""
    source, strange = random.Random(SEED), [*STRANGE, *list_injections(canary)]
    names = [*JobPatch.model_fields, "status", "spec", "unknown", "__proto__", ""]
    changes = [{name: value} for name, value in itertools.product(names, strange)]
    changes += [{name: source.choice(strange) for name in source.sample(names, 3)} for _ in range(COUNT // 3)]
    answers: list[int] = []
    with front_end.session() as session:
        job = session.post("/evaluate", json=VALID).raise_for_status().json()["job_id"]
        before = session.get(f"/jobs/{job}").json()
        for change in changes:
            answer = session.patch(
                f"/jobs/{job}", content=text_of(change), headers={"Content-Type": "application/json"}
            )
            assert fine(answer), change
            answers.append(answer.status_code)
        after = session.get(f"/jobs/{job}").json()
    assert set(answers) == {200, 422}
    # Nothing but what may change has changed.
    assert {key for key in before if before[key] != after[key]} <= {*JobPatch.model_fields, "reason"}
    assert "Traceback" not in front_end.log.read_text()


async def test_what_is_stored_is_what_was_sent_and_no_more(front_end: FrontEnd, canary: str, client: Transport) -> None:
    kept = 0
    for command in list_injections(canary):
        body = {**VALID, "model_args": {"pretrained": command}, "gen_kwargs": command, "system_instruction": command}
        async with httpx.AsyncClient(
            base_url=front_end.url, trust_env=False, verify=NO_TLS, timeout=MAX_ANSWER_SECONDS
        ) as session:
            answer = await session.post("/evaluate", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
        if answer.status_code == 200:
            stored = await client.get(EVALUATIONS, answer.json()["job_id"])
            assert stored["spec"]["modelArgs"]["pretrained"] == stored["spec"]["genKwargs"] == command
            kept += 1
    assert kept >= 5


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": json.dumps(VALID).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(VALID).encode(),
    "half a character": b'{"model": "\\ud800", "tasks": ["a"]}',
    "keys twice": b'{"model": "a", "model": "llava_hf", "tasks": ["b"], "tasks": ["mme"]}',
    "keys of arguments twice": b'{"model": "a", "tasks": ["b"], "model_args": {"x": 1, "x": 2}}',
    "a number": b"17",
    "a list": b"[]",
    "null": b"null",
    "text": b'"model"',
    "a huge number": b'{"model": "a", "tasks": ["b"], "limit": ' + b"9" * 5000 + b"}",
    "a huge exponent": b'{"model": "a", "tasks": ["b"], "limit": 1e999999999}',
    "trailing text": json.dumps(VALID).encode() + b" {}",
    "comments": b'{"model": "a", /* b */ "tasks": ["c"]}',
    "control characters": b'{"model": "a\x01", "tasks": ["b"]}',
    "many keys": json.dumps({**VALID, **{f"k{number}": number for number in range(12_000)}}).encode(),
    "many tasks": json.dumps({**VALID, "tasks": [f"t{number}" for number in range(20_000)]}).encode(),
    "deep lists": b'{"model": "a", "tasks": ' + deep(100_000, "list").encode() + b"}",
    "deep objects": b'{"model": "a", "tasks": ["b"], "model_args": ' + deep(40_000, "object").encode() + b"}",
    "nearly too large": json.dumps({**VALID, "gen_kwargs": "a" * 261_000}).encode(),
    "too large": json.dumps({**VALID, "gen_kwargs": "a" * 300_000}).encode(),
}


KINDS = ("application/json", "text/plain", "multipart/form-data; boundary=a", "", "application/x-yaml")


def test_broken_bodies(front_end: FrontEnd, subtests: pytest.Subtests) -> None:
    with front_end.session() as session:
        for kind, (name, body) in itertools.product(KINDS, BROKEN.items()):
            with subtests.test(msg=f"{name} as {kind}"):
                for method, path in (
                    ("POST", "/evaluate"),
                    ("PATCH", "/jobs/a"),
                    ("POST", "/merge"),
                    ("GET", "/queue"),
                ):
                    headers = {"Content-Type": kind} if kind else {}
                    assert fine(session.request(method, path, content=body, headers=headers))
        assert session.get("/queue").status_code == 200


HEADERS = (
    "Idempotency-Key",
    "X-Request-ID",
    "Last-Event-ID",
    "If-None-Match",
    "Cookie",
    "Accept",
    "Host",
    "X-Forwarded-Proto",
)


def test_paths_queries_and_headers_that_mean_harm(front_end: FrontEnd, canary: str) -> None:
    source = random.Random(SEED)
    texts = [str(value) for value in STRANGE if isinstance(value, str)] + list_injections(canary)
    with front_end.session() as session:
        for text in texts:
            safe = text[:2000].encode("utf-8", "surrogatepass")
            quoted = "".join(f"%{byte:02X}" for byte in safe)
            for path in (
                f"/jobs/{quoted}",
                f"/jobs/{quoted}/samples/{quoted}",
                f"/jobs/{quoted}/logs",
                f"/jobs/{quoted}/events",
            ):
                assert fine(session.get(path))
            query = source.choice(
                ["cursor", "label", "status", "model", "task", "limit", "include", "q", "filter", "dryRun", "x"]
            )
            for path in ("/jobs", "/jobs/a", "/tasks", "/jobs/a/samples/b", "/jobs/a/logs"):
                assert fine(session.get(f"{path}?{query}={quoted}&{quoted}={quoted}"))
            assert fine(session.delete(f"/jobs/{quoted}"))
            value = safe.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
            for header in HEADERS:
                sent = value if header != "Cookie" else b"lmms_eval_version=" + value
                assert fine(session.get("/jobs/a", headers=[(header.encode(), sent.strip())]))
            key = {b"Idempotency-Key": value.strip()}
            assert fine(session.post("/evaluate?dryRun=true", content=text_of(VALID), headers=[*key.items()]))


# What no client of HTTP would send: ends of lines where none belong.
BREAKS = ("\r\n", "\n", "\r", "\r\r\n", "\r\n ", "\0\r\n", "\x0b", "\u2028", "\x85")
PLACES = (
    "GET /jobs/a{split} HTTP/1.1\r\nHost: a\r\n{auth}\r\n\r\n",
    "GET /jobs/a?cursor=a{split} HTTP/1.1\r\nHost: a\r\n{auth}\r\n\r\n",
    "GE{split}T /jobs/a HTTP/1.1\r\nHost: a\r\n{auth}\r\n\r\n",
    "GET /jobs/a HTTP/1.1{split}\r\nHost: a\r\n{auth}\r\n\r\n",
    *(f"GET /jobs/a HTTP/1.1\r\nHost: a\r\n{{auth}}\r\n{header}: a{{split}}\r\n\r\n" for header in HEADERS),
)


def test_no_end_of_a_line_puts_a_header_into_an_answer(front_end: FrontEnd, subtests: pytest.Subtests) -> None:
    for place, line_break in itertools.product(PLACES, BREAKS):
        sent = place.format(split=f"{line_break}{INJECTED}: yes", auth=f"Authorization: Bearer {TOKEN}").encode()
        with subtests.test(msg=repr(sent)):
            answer = spoken(front_end, sent)
            head = answer.partition(b"\r\n\r\n")[0]
            assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2"))
            assert head.count(b"HTTP/1.") == 1 and INJECTED.lower().encode() not in head.lower()


RAW = [
    b"GET /queue HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST /evaluate HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /evaluate HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /evaluate HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /evaluate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    b"POST /evaluate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"GET /queue HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /queue HTTP/1.1\r\n\r\n",
    b"GET /queue HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET  /queue  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /queue\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /queue HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /queue HTTP/1.1\r\nHost: a\r\n continued: yes\r\n\r\n",
    b"GET /queue HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /queue HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"GET /queue\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\n\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
]


def test_what_is_hardly_http(front_end: FrontEnd, subtests: pytest.Subtests) -> None:
    for sent in RAW:
        with subtests.test(msg=repr(sent[:60])):
            answer = spoken(front_end, sent)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
            assert b"HTTP/1.1 200" not in answer or b"/livez" in sent
            assert not [word for word in INTERNAL_TEXTS if word.encode() in answer]
            assert httpx.get(f"{front_end.url}/readyz", trust_env=False, verify=NO_TLS).status_code == 200


def spoken(front_end: FrontEnd, sent: bytes) -> bytes:
    """What comes back first, within a second."""
    with socket.create_connection(("127.0.0.1", httpx.URL(front_end.url).port), timeout=MAX_ANSWER_SECONDS) as raw:
        try:
            raw.sendall(sent)
            raw.settimeout(1)
            return raw.recv(65536)
        except (TimeoutError, ConnectionError):
            return b""


def test_no_field_costs_much_time(front_end: FrontEnd) -> None:
    """What a body may hold at most, of the kind that makes patterns slow."""
    nasty = ["a" * 60_000 + "!", "-" * 60_000, "a-" * 30_000, "a," * 60_000, " " * 60_000, "0" * 60_000, "a=" * 30_000]
    with front_end.session() as session:
        for name in fields():
            for text in nasty:
                for value in (text, [text], {text: "a"}, {"a": text}):
                    began = time.monotonic()
                    assert fine(session.post("/evaluate", json={**VALID, name: value}))
                    assert time.monotonic() - began < 5, name


def test_nobody_is_told_of_others_files(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        for path in (
            "/jobs/..%2f..%2fetc%2fpasswd/results",
            "/jobs/a/samples/..%2f..%2f..%2fetc%2fpasswd",
            "/docs/../../etc/passwd",
        ):
            answer = session.get(path)
            assert fine(answer) and "root:" not in answer.text
            assert answer.status_code in (404, 422)
