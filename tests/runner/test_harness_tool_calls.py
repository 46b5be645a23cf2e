"""The journal around the adapter for endpoints with tools of an MCP server: a document is a conversation of several
completions, and its answer is what the last one ends.

Client and HTTP are real. The MCP server is played: its package is not in the image.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from journaled_attempts import Attempts
from runner_process import build_run_input

from lmms_eval_core.journal import ChunkLine, CompletionLine, JournalKind, JournalName
from lmms_eval_core.run import RunInput
from lmms_eval_runner.journal import attach, chunk_size
from lmms_eval_runner.journal.files import read_lines

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

DOCUMENTS = 6
TOOL_ROUNDS = 2
COMPLETIONS = DOCUMENTS * (TOOL_ROUNDS + 1)


@pytest.fixture(scope="module", autouse=True)
def harness() -> None:
    attach.prepare_journal(RunInput.model_validate(build_run_input()), None)


@pytest.fixture(autouse=True)
def two_conversations_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_size, "CONCURRENT_ROUNDS", 1)
    monkeypatch.setattr(chunk_size, "CONCURRENT_SECONDS", 0.0)


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path)


class ConversationHandler(BaseHTTPRequestHandler):
    """Asks for a tool in the first rounds, and answers in the last one, by what was asked and what the tool said."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)  # type: ignore[attr-defined]
        content = json.dumps(make_completion(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_completion(body: dict[str, Any]) -> dict[str, Any]:
    messages = body["messages"]
    number = sum("tool_calls" in message for message in messages)
    question = messages[0]["content"][0]["text"]
    if number < TOOL_ROUNDS:
        function = {"name": "look", "arguments": json.dumps({"number": number})}
        calls = [{"id": f"call-{question}-{number}", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None if number else "I look. ", "tool_calls": calls}
    else:
        message = {"role": "assistant", "content": f"final: {question}, {messages[-1]['content'][0]['text']}"}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {"index": 0, "finish_reason": "tool_calls" if number < TOOL_ROUNDS else "stop", "message": message}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7 + number, "total_tokens": 12 + number},
    }


class Tools:
    """What the adapter needs of an MCP client; `ran` are the calls."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    async def get_function_list(self) -> list[dict[str, Any]]:
        return [{"type": "function", "function": {"name": "look", "description": "", "parameters": {}}}]

    async def run_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        self.ran.append(arguments["number"])
        return SimpleNamespace(content=[f"seen {arguments['number']}"])

    def convert_result_to_openai_format(self, content: str) -> list[dict[str, Any]]:
        return [{"type": "text", "text": content}]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ConversationHandler)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def make_adapter(server: ThreadingHTTPServer, *, pictures: bool) -> Any:
    from lmms_eval.models import get_model

    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    adapter = get_model("async_openai")(model_version="stub", base_url=url, api_key="none-at-all", num_cpus=2)
    adapter.mcp_client = Tools()
    adapter.task_dict["a"] = {"test": [(number, pictures) for number in range(DOCUMENTS)]}
    return adapter


def make_requests() -> list[Any]:
    from lmms_eval.api.instance import Instance

    return [
        Instance(
            request_type="generate_until",
            arguments=("x", ask, {"max_new_tokens": 4}, number, "a", "test"),
            idx=0,
            metadata={"task": "a", "doc_id": number, "repeats": 1},
        )
        for number in range(DOCUMENTS)
    ]


def ask(document: tuple[int, bool]) -> list[dict[str, Any]]:
    from PIL import Image

    number, has_picture = document
    content: list[dict[str, Any]] = [{"type": "text", "text": f"question {number}"}]
    if has_picture:
        content.append({"type": "image", "url": Image.new("RGB", (8, 8))})
    return [{"role": "user", "content": content}]


def answer(adapter: Any) -> list[Any]:
    return [(one.text, str(one.token_counts)) for one in adapter.generate_until(make_requests())]


def list_answers(attempts: Attempts) -> list[str]:
    """The answers in the journal, in the order of their documents."""
    chunks = [line for line in attempts.read_lines() if isinstance(line, ChunkLine)]
    found = [answer for line in chunks for batch in line.batches for answer in batch.answers]
    return [str(answer.text) for answer in sorted(found, key=lambda answer: int(answer.document or 0))]


def die_before_an_answer(attempts: Attempts, *, completions: int) -> None:
    """Leave what a process leaves that dies after so many completions, in its first chunk."""
    for name, lines in ((JournalName(1, 0), 1), (JournalName(1, 0, JournalKind.COMPLETIONS), 1 + completions)):
        path = attempts.directory / "journal" / str(name)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


@pytest.mark.parametrize("completions", [0, 1, 2, 3, 5, 8, 13, COMPLETIONS - 1, COMPLETIONS])
def test_a_conversation_goes_on_after_its_last_completion(
    attempts: Attempts, server: ThreadingHTTPServer, completions: int
) -> None:
    first = answer(attempts.attach(make_adapter(server, pictures=False)))
    asked: list[Any] = server.asked  # type: ignore[attr-defined]
    assert len(asked) == COMPLETIONS and len({text for text, _ in first}) == DOCUMENTS
    assert all(text.endswith(f"final: question {number}, seen 1") for number, (text, _) in enumerate(first))
    die_before_an_answer(attempts, completions=completions)

    adapter = attempts.attach(make_adapter(server, pictures=False))
    assert answer(adapter) == first and attempts.off == ""
    assert len(asked) == 2 * COMPLETIONS - completions
    # The tools run again: what they leave behind is in this process.
    assert sorted(adapter.mcp_client.ran) == sorted([*range(TOOL_ROUNDS)] * DOCUMENTS)
    assert list_answers(attempts) == [text for text, _ in first]


def test_what_asks_for_a_tool_is_no_answer(attempts: Attempts, server: ThreadingHTTPServer) -> None:
    first = answer(attempts.attach(make_adapter(server, pictures=False)))
    assert list_answers(attempts) == [text for text, _ in first]
    (tap,) = (attempts.directory / "journal").glob("tap-*")
    kept = [line for line in read_lines(tap) if isinstance(line, CompletionLine)]
    assert len(kept) == COMPLETIONS
    # All of them are part of an answer by now, and none is given again.
    adapter = attempts.attach(make_adapter(server, pictures=False))
    assert answer(adapter) == first and adapter.mcp_client.ran == []
    assert len(server.asked) == COMPLETIONS  # type: ignore[attr-defined]


def test_a_conversation_about_a_picture_begins_anew(attempts: Attempts, server: ThreadingHTTPServer) -> None:
    first = answer(attempts.attach(make_adapter(server, pictures=True)))
    # Its folder of pictures is gone after each chunk, of which there are more than one: none of them may miss it.
    chunks = [line for line in attempts.read_lines() if isinstance(line, ChunkLine)]
    assert [len(line.batches) for line in chunks] == [2, 2, 2] and attempts.off == ""
    die_before_an_answer(attempts, completions=COMPLETIONS)
    adapter = attempts.attach(make_adapter(server, pictures=True))
    assert answer(adapter) == first
    # The request names the file of the picture, which the first process had: no tool may be asked to look there.
    asked: list[Any] = server.asked  # type: ignore[attr-defined]
    assert len(asked) == 2 * COMPLETIONS
    places = [
        {str(Path(content["text"].split("image path: ")[1]).parent) for body in part for content in read_paths(body)}
        for part in (asked[:COMPLETIONS], asked[COMPLETIONS:])
    ]
    assert all(len(place) == 1 for place in places) and places[0] != places[1]


def read_paths(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [content for content in body["messages"][0]["content"] if "image path: " in content.get("text", "")]
