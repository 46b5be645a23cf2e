"""The journal around small adapters in this process: what a death, a torn file, a strange adapter or another run may
not change.
"""

import contextlib
import copy
import itertools
import json
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from journaled_attempts import PARTS, Attempts, begin
from runner_process import build_run_input

from lmms_eval_core.journal import ChunkLine, CompletionLine, FailureLine, JournalName, NextLine
from lmms_eval_core.run import RunInput
from lmms_eval_runner.journal import adapter_call, attach, chunk_size, upstream
from lmms_eval_runner.journal.files import read_lines
from lmms_eval_runner.meter import Meter

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]


class Death(BaseException):
    """Stands for SIGKILL: nobody catches it."""


@pytest.fixture(scope="module", autouse=True)
def harness() -> None:
    attach.prepare_journal(RunInput.model_validate(build_run_input()), None)


@pytest.fixture(autouse=True)
def one_batch_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_size, "TARGET_SECONDS", 0.0)


def padded() -> Any:
    """An adapter that sorts and batches as most do; an answer depends on its batch, as with padding."""
    import torch
    from lmms_eval.api.instance import GenerationResult, TokenCounts
    from lmms_eval.models.model_utils import gen_metrics, usage_metrics
    from lmms_eval.models.simple.dummy import Dummy
    from lmms_eval.utils import Collator

    class Padded(Dummy):  # type: ignore[misc]
        batch_size = 4

        def __init__(self) -> None:
            super().__init__()
            self.dies_after: int | None = None
            self.asked: list[int] = []

        def generate_until(self, requests: list[Any]) -> list[Any]:
            collator = Collator([r.args for r in requests], lambda x: (-len(x[0]), x[0]), grouping=True)
            answers = []
            for batch in collator.get_batched(n=self.batch_size, batch_fn=None):
                answers += self.answer(batch, requests[0].metadata["task"])
            gen_metrics.log_metrics(1.0, len(answers), 1.0)
            return list(collator.get_original(answers))

        def answer(self, batch: Any, task: str) -> list[Any]:
            contexts, kwargs, *_ = zip(*batch, strict=True)
            # As adapters do: what is asked again finds another argument.
            first = [one.pop("until", None) is not None for one in kwargs][0]
            kwargs[0]["image_sizes"] = [(1, 2)]
            longest = max(map(len, contexts))
            self.asked.append(len(batch))
            made = []
            for context in contexts:
                if self.dies_after is not None and sum(self.asked) > self.dies_after:
                    raise Death
                text = f"{context[:6]} {longest} {len(batch)} {task} {first}"
                if kwargs[0]["temperature"] > 0:
                    text += f" {torch.rand(1).item():.9f} {random.random():.9f}"
                usage_metrics.log_usage("m", "t", 3, 4)
                made.append(GenerationResult(text, TokenCounts(output_tokens=longest)))
            return made

    return Padded()


def make_requests(
    count: int = 24, *, tasks: tuple[str, ...] = ("a", "b"), temperature: float = 0, repeats: int = 1
) -> list[Any]:
    from lmms_eval.api.instance import Instance

    choose, made = random.Random(5), []
    for task in tasks:
        for number in range(count):
            text = f"{task}{number:04d} " + "x" * choose.randint(0, 40)
            kwargs = {"temperature": temperature, "max_new_tokens": 4 if task == "a" else 8, "until": ["\n\n"]}
            made.append(
                Instance(
                    request_type="generate_until",
                    arguments=(text, kwargs, len, number, task, "test"),
                    idx=0,
                    metadata={"task": task, "doc_id": number, "repeats": repeats},
                )
            )
    return [one for one in made for _ in range(repeats)]


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path)


def left_behind() -> object:
    """What the calls of an adapter leave in the process."""
    import torch
    from lmms_eval.models.model_utils import gen_metrics, usage_metrics

    throughput = {name: value for name, value in gen_metrics.summarize_logged_metrics().items() if "avg" not in name}
    return (
        random.random(),
        torch.rand(1).item(),
        usage_metrics.summarize_usage_metrics(),
        throughput.get("total_gen_tokens"),
    )


def plain(make: Callable[[], Any], requests: list[Any]) -> tuple[list[Any], object]:
    """The answers without a journal, and what is left behind."""
    begin()
    answers = show(make().generate_until(requests))
    return answers, left_behind()


def show(answers: list[Any]) -> list[Any]:
    return [
        (one.text, one.token_counts and one.token_counts.to_dict()) if hasattr(one, "text") else one for one in answers
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("repeats", [1, 3])
# In batches of four.
@pytest.mark.parametrize(("seconds", "chunk"), [(0.0, 4), (1.0, 64)])
def test_a_death_anywhere_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temperature: float, repeats: int, seconds: float, chunk: int
) -> None:
    monkeypatch.setattr(chunk_size, "TARGET_SECONDS", seconds)

    def requests() -> list[Any]:
        return make_requests(temperature=temperature, repeats=repeats)

    want = plain(padded, requests())
    chance = random.Random(7)
    for trial in range(8):
        attempts, asked = Attempts(tmp_path / str(trial)), 0
        for number in range(1, 20):
            adapter = attempts.attach(padded())
            adapter.dies_after = chance.randint(0, 60) if number < 6 else None
            try:
                got = show(adapter.generate_until(requests()))
            except Death:
                asked += sum(adapter.asked)
                continue
            asked += sum(adapter.asked)
            assert (got, left_behind()) == want
            # Less than a chunk for every death.
            assert asked - len(got) <= (number - 1) * chunk
            break
        else:
            pytest.fail("no attempt came to its end")


def test_a_file_may_be_torn_at_any_byte(tmp_path: Path) -> None:
    want, _ = plain(padded, make_requests(8, temperature=1.0))
    first = Attempts(tmp_path / "first")
    adapter = first.attach(padded())
    adapter.dies_after = 9
    with pytest.raises(Death):
        adapter.generate_until(make_requests(8, temperature=1.0))
    (name,) = os.listdir(first.directory / "journal")
    content = (first.directory / "journal" / name).read_bytes()
    for cut in range(0, len(content), 331):
        attempts = Attempts(tmp_path / str(cut))
        attempts.number = 1
        (attempts.directory / "journal").mkdir(parents=True)
        (attempts.directory / "journal" / name).write_bytes(content[:cut])
        adapter = attempts.attach(padded())
        assert show(adapter.generate_until(make_requests(8, temperature=1.0))) == want


def test_another_run_begins_anew_and_says_why(attempts: Attempts, capsys: pytest.CaptureFixture[str]) -> None:
    attempts.attach(padded()).generate_until(make_requests())
    for part in PARTS:
        attempts.parts = PARTS | {part: "another"}
        adapter = attempts.attach(padded(), meter=(meter := Meter(attempts.folder, lambda: 1.0)))
        adapter.generate_until(make_requests())
        assert sum(adapter.asked) == 48
        assert part in meter.report.started_anew and "attempt" in meter.report.started_anew
        assert f"starts anew, since {meter.report.started_anew}" in capsys.readouterr().err
        shutil.rmtree(attempts.directory)


def test_other_hardware_counts_where_the_user_says_so(attempts: Attempts) -> None:
    attempts.attach(padded()).generate_until(make_requests())
    attempts.parts = PARTS | {"hardware": ["GPU"]}
    meter = Meter(attempts.folder, lambda: 1.0)
    adapter = attempts.attach(padded(), meter=meter, resume="acrossHardware")
    adapter.generate_until(make_requests())
    assert adapter.asked == [] and meter.report.resumed
    assert (meter.report.resumed.answers, meter.report.resumed.exactness) == (48, "equivalent")
    assert meter.report.resumed.from_attempt == 1


def test_without_resume_there_is_no_journal(capsys: pytest.CaptureFixture[str]) -> None:
    assert not attach.prepare_journal(RunInput.model_validate(build_run_input(resume="never")), None)
    assert capsys.readouterr().err == ""


def test_an_error_of_the_journal_itself_ends_it(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    want = plain(padded, make_requests(temperature=1.0))
    for place in ("_find_known", "_make_line"):

        def fail(*_: Any, **__: Any) -> None:
            raise KeyError("a mistake")

        with monkeypatch.context() as patch:
            patch.setattr(adapter_call.AdapterCall, place, fail)
            adapter = attempts.attach(padded())
            assert (show(adapter.generate_until(make_requests(temperature=1.0))), left_behind()) == want
            assert attempts.off == "KeyError: 'a mistake'"
            assert sum(adapter.asked) == 48


def test_the_meter_counts_requests(attempts: Attempts) -> None:
    from tqdm import tqdm

    now = 1000.0
    meter = Meter(attempts.folder, lambda: now)
    adapter = attempts.attach(padded(), meter=meter)
    seen = []
    update = tqdm.update

    def follow(bar: Any, count: int = 1) -> None:
        update(bar, count)
        meter.read_bar(bar)
        seen.append((meter.report.completed, meter.report.total, meter.report.journaled))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tqdm, "update", follow)
        adapter.generate_until(make_requests(4))
    assert seen[-1] == (8, 8, 8) and (4, 8, 4) in seen


def test_changed_prompts_are_asked_again(attempts: Attempts) -> None:
    attempts.attach(padded()).generate_until(make_requests())
    changed = make_requests()
    changed[3].arguments = ("other", *changed[3].arguments[1:])
    adapter = attempts.attach(padded())
    want, _ = plain(padded, copy.deepcopy(changed))
    assert show(adapter.generate_until(changed)) == want
    # Its batch, and those that its new place in the order has shifted.
    assert 0 < sum(adapter.asked) <= 24


def simple(answer: Callable[[Any], Any], **attributes: Any) -> Any:
    """An adapter without a Collator, which answers one request after the other."""
    from lmms_eval.models.simple.dummy import Dummy

    class Simple(Dummy):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[list[int]] = []

        def generate_until(self, requests: list[Any]) -> list[Any]:
            self.asked.append([request.doc_id for request in requests])
            return [made for request in requests for made in answer(request)]

    for name, value in attributes.items():
        setattr(Simple, name, value)
    return Simple()


@pytest.mark.parametrize("made", [0, 2])
def test_a_wrong_count_switches_the_journal_off(attempts: Attempts, made: int) -> None:
    def answer(request: Any) -> list[str]:
        return [request.args[0]] * (made if request.doc_id == 7 else 1)

    want = simple(answer).generate_until(make_requests(12, tasks=("a",)))
    adapter = attempts.attach(simple(answer), meter=(meter := Meter(attempts.folder, lambda: 1.0)))
    assert adapter.generate_until(make_requests(12, tasks=("a",))) == want
    assert "answers to" in attempts.off and meter.report.journal_off == attempts.off
    assert meter.report.total is None


def test_two_collators_switch_the_journal_off(attempts: Attempts) -> None:
    from lmms_eval.models.simple.dummy import Dummy
    from lmms_eval.utils import Collator

    class Twice(Dummy):  # type: ignore[misc]
        def generate_until(self, requests: list[Any]) -> list[Any]:
            made: list[Any] = [None] * len(requests)
            for start in (0, 1):
                half = Collator([r.args for r in requests[start::2]], lambda x: len(x[0]), grouping=True)
                made[start::2] = half.get_original([one[0] for batch in half.get_batched(n=2) for one in batch])
            return made

    adapter = attempts.attach(Twice())
    assert adapter.generate_until(make_requests(10)) == [request.args[0] for request in make_requests(10)]
    assert "Collator" in attempts.off


def test_an_unknown_type_switches_the_journal_off(attempts: Attempts) -> None:
    adapter = attempts.attach(simple(lambda request: [{1, 2} if request.doc_id == 5 else "x"]))
    answers = adapter.generate_until(make_requests(8, tasks=("a",)))
    assert answers == ["x"] * 5 + [{1, 2}] + ["x"] * 2 and "type set" in attempts.off
    # Nobody is asked twice for it.
    assert sum(map(len, adapter.asked)) == 8


def test_failures_are_asked_again_and_empty_answers_are_not(attempts: Attempts) -> None:
    from loguru import logger

    failing = True

    def answer(request: Any) -> list[str]:
        if failing and request.doc_id in (3, 4):
            named = logger.patch(lambda record: record.update(name="lmms_eval.models.chat.llava_hf"))
            named.error("Error CUDA error: unspecified launch failure in generating")
            return [""]
        if failing and request.doc_id == 5:
            return ["[LMMS_EVAL_REQUEST_FAILED after 5 retries] x"]
        return ["" if request.doc_id == 9 else "fine"]

    attempts.attach(simple(answer)).generate_until(make_requests(12, tasks=("a",)))
    failing = False
    adapter = attempts.attach(simple(answer))
    answers = adapter.generate_until(make_requests(12, tasks=("a",)))
    assert sorted(doc for call in adapter.asked for doc in call) == [3, 4, 5]
    assert answers == ["fine"] * 9 + [""] + ["fine"] * 2


def test_targets_are_shown_and_draw_nothing(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    class Task:
        eval_docs_no_media = range(24)

        def doc_to_target(self, doc: int) -> str:
            return f"{doc} {random.random() < 2}"

    monkeypatch.setitem(upstream.list_tasks(), "a", Task())
    want = plain(padded, make_requests(temperature=1.0))
    adapter = attempts.attach(padded())
    assert (show(adapter.generate_until(make_requests(temperature=1.0))), left_behind()) == want
    answers = [
        one for line in attempts.read_lines() if isinstance(line, ChunkLine) for b in line.batches for one in b.answers
    ]
    assert {(one.document, one.target) for one in answers if one.task == "a"} == {(n, f"{n} True") for n in range(24)}
    assert {one.target for one in answers if one.task == "b"} == {None}
    assert all(one.prompt and one.prompt.startswith(one.task) for one in answers)


def test_a_secret_gets_into_no_file(attempts: Attempts) -> None:
    secret = "hf_" + "s3cr3t" * 4
    adapter = attempts.attach(
        simple(lambda request: [f"my token is {secret}" if request.doc_id == 2 else "x"]),
        environ={"HF_TOKEN": secret},
    )
    adapter.generate_until(make_requests(4, tasks=("a",)))
    (path,) = (attempts.directory / "journal").iterdir()
    assert secret not in path.read_text()
    kept = [
        answer.document
        for line in attempts.read_lines()
        if isinstance(line, ChunkLine)
        for batch in line.batches
        for answer in batch.answers
    ]
    assert kept == [0, 1, 3]


def hungry(times: int, *, after: int = 8) -> Any:
    import torch

    adapter = padded()
    original = adapter.answer

    def answer(batch: Any, task: str) -> list[Any]:
        nonlocal times
        if sum(adapter.asked) >= after and times:
            times -= 1
            torch.rand(3)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(original(batch, task))

    adapter.answer = answer
    return adapter


def test_out_of_memory_once_is_tried_again_in_place(attempts: Attempts, capsys: pytest.CaptureFixture[str]) -> None:
    want = plain(padded, make_requests(temperature=1.0))
    adapter = attempts.attach(hungry(1))
    assert (show(adapter.generate_until(make_requests(temperature=1.0))), left_behind()) == want
    assert "out of memory; once more" in capsys.readouterr().err
    assert not any(isinstance(line, FailureLine) for line in attempts.read_lines())
    # Never a smaller batch.
    assert sorted(adapter.asked) == sorted(sizes_of_padded())


def sizes_of_padded() -> list[int]:
    adapter = padded()
    adapter.generate_until(make_requests())
    return list(adapter.asked)


def test_out_of_memory_twice_is_on_record(attempts: Attempts) -> None:
    import torch

    adapter = attempts.attach(hungry(2))
    with pytest.raises(torch.OutOfMemoryError):
        adapter.generate_until(make_requests())
    lines = attempts.read_lines()
    assert isinstance(lines[-1], FailureLine) and lines[-1].reason == "OutOfMemory"
    assert isinstance(lines[-2], NextLine) and lines[-2].next == lines[-1].failed
    assert sum(isinstance(line, ChunkLine) for line in lines) == 2


def test_a_device_side_assert_is_on_record(attempts: Attempts) -> None:
    def answer(request: Any) -> list[str]:
        if request.doc_id == 3:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return ["x"]

    with pytest.raises(RuntimeError):
        attempts.attach(simple(answer)).generate_until(make_requests(6, tasks=("a",)))
    last = attempts.read_lines()[-1]
    assert isinstance(last, FailureLine) and last.reason == "GPUError"


def test_an_agent_goes_on_at_its_step(attempts: Attempts) -> None:
    """One request a call, the same document again and again."""
    from lmms_eval.api.instance import Instance

    def play(adapter: Any) -> list[str]:
        said: list[str] = []
        for document in range(4):
            for _ in range(3):
                arguments = (f"{document} {said[-1:]}", {"temperature": 1.0}, len, document, "a", "test")
                metadata = {"task": "a", "doc_id": document, "repeats": 1}
                one = Instance(request_type="generate_until", arguments=arguments, idx=0, metadata=metadata)
                said.append(adapter.generate_until([one])[0].text)
        return said

    begin()
    want = play(padded())
    adapter = attempts.attach(padded())
    adapter.dies_after = 7
    with pytest.raises(Death):
        play(adapter)
    adapter = attempts.attach(padded())
    assert play(adapter) == want and sum(adapter.asked) == 12 - 7


def test_every_call_begins_with_the_metadata_of_the_first_request(attempts: Attempts) -> None:
    seen = []
    adapter = simple(lambda request: ["x"])
    original = adapter.generate_until

    def generate_until(requests: list[Any]) -> Any:
        seen.append(requests[0].metadata["task"])
        return original(requests)

    adapter.generate_until = generate_until
    requests = make_requests(3)
    attempts.attach(adapter).generate_until(requests)
    assert set(seen) == {"a"} and len(seen) > 2
    assert [request.metadata["task"] for request in requests] == ["a"] * 3 + ["b"] * 3


def test_a_folder_of_the_adapter_is_there_in_every_call(attempts: Attempts) -> None:
    folder = attempts.folder / "work"

    def answer(request: Any) -> list[str]:
        assert folder.is_dir()
        return ["x"]

    adapter = simple(answer, work_dir=str(folder))
    original = adapter.generate_until

    def generate_until(requests: list[Any]) -> Any:
        answers = original(requests)
        shutil.rmtree(folder)
        return answers

    adapter.generate_until = generate_until
    assert attempts.attach(adapter).generate_until(make_requests(4)) == ["x"] * 8


def test_an_engine_gets_the_batches_that_it_would_get(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def engine() -> Any:
        from lmms_eval.models.simple.dummy import Dummy

        class Engine(Dummy):  # type: ignore[misc]
            """As vllm's: runs dry after each slice, and counts tokens since its start."""

            batch_size_per_gpu = 5

            def __init__(self) -> None:
                super().__init__()
                self.batches: list[list[str]] = []
                self.tokens = 0

            @property
            def batch_size(self) -> int:
                return self.batch_size_per_gpu

            def get_format_metrics(self) -> dict[str, Any]:
                return {"generation_tokens": self.tokens}

            def generate_until(self, requests: list[Any]) -> list[Any]:
                from lmms_eval.models.model_utils import gen_metrics

                answers = []
                for start in range(0, len(requests), self.batch_size):
                    batch = [request.args[0] for request in requests[start : start + self.batch_size]]
                    self.batches.append(batch)
                    self.tokens += 3 * len(batch)
                    answers += batch
                gen_metrics.log_metrics(0.5, self.get_format_metrics()["generation_tokens"], 1.0)
                return answers

        return Engine()

    first = engine()
    begin()
    first.generate_until(make_requests(12))
    want = first.batches
    adapter = attempts.attach(engine())
    adapter.generate_until(make_requests(12))
    assert adapter.batches == want
    from lmms_eval.models.model_utils import gen_metrics

    assert gen_metrics.summarize_logged_metrics()["total_gen_tokens"] == 72
    assert len(gen_metrics.get_logged_metrics_history()) == 1
    # And replayed, in two parts.
    lines = (attempts.directory / "journal" / str(JournalName(1, 0))).read_bytes().splitlines(keepends=True)
    (attempts.directory / "journal" / str(JournalName(1, 0))).write_bytes(b"".join(lines[:5]))
    adapter = attempts.attach(engine())
    adapter.generate_until(make_requests(12))
    assert 0 < len(adapter.batches) < len(want) and adapter.batches == want[-len(adapter.batches) :]
    assert gen_metrics.summarize_logged_metrics()["total_gen_tokens"] == 72


def test_two_ranks_have_a_file_each_and_read_both(attempts: Attempts) -> None:
    requests = make_requests()
    ranks = [{"RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]
    attempts.attach(padded(), environ=ranks[0]).generate_until(requests[::2])
    attempts.attach_beside(padded(), environ=ranks[1]).generate_until(requests[1::2])
    assert sorted(os.listdir(attempts.directory / "journal")) == [str(JournalName(1, rank)) for rank in range(2)]
    requests = make_requests()
    first = attempts.attach(padded(), environ=ranks[0])
    first.generate_until(requests[::2])
    second = attempts.attach_beside(padded(), environ=ranks[1])
    second.generate_until(requests[1::2])
    assert first.asked == second.asked == []


def test_ranks_that_work_together_leave_out_the_same_batches(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts.attach(simple(lambda request: ["x"])).generate_until(make_requests(8, tasks=("a",)))
    asked: list[int] = []

    def agree(count: int) -> int:
        asked.append(count)
        return 3

    monkeypatch.setattr(upstream, "agree_on_least", agree)
    adapter = attempts.attach(simple(lambda request: ["x"], _tp_world_size=2))
    adapter.generate_until(make_requests(8, tasks=("a",)))
    assert asked == [8] and [doc for call in adapter.asked for doc in call] == [3, 4, 5, 6, 7]


def test_a_full_disk_ends_the_journal_and_not_the_run(attempts: Attempts, capsys: pytest.CaptureFixture[str]) -> None:
    import resource
    import signal

    adapter = attempts.attach(padded())
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        answers = show(adapter.generate_until(make_requests()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    want, _ = plain(padded, make_requests())
    assert answers == want and sorted(adapter.asked) == sorted(sizes_of_padded())
    assert "no journal from here on: File too large" in capsys.readouterr().err
    # What is whole of it is of use.
    adapter = attempts.attach(padded())
    assert show(adapter.generate_until(make_requests())) == want
    assert 0 < sum(adapter.asked) < 48


def test_a_method_that_a_task_replaces_in_the_class_is_called(attempts: Attempts) -> None:
    adapter = attempts.attach(padded())
    type(adapter).generate_until = lambda self, requests: ["replaced"] * len(requests)
    assert adapter.generate_until(make_requests()) == ["replaced"] * 48


def test_a_directory_that_cannot_be_written_ends_the_journal(attempts: Attempts) -> None:
    adapter = attempts.attach(padded())
    (attempts.directory / "journal").write_text("no folder")
    want, _ = plain(padded, make_requests())
    assert show(adapter.generate_until(make_requests())) == want and attempts.off


NUMBERS = itertools.count()


class Endpoint:
    """A client of OpenAI's kind. Its answers are numbered, so that no two are the same."""

    def __init__(self, *, dies_after: int | None = None, is_async: bool = False) -> None:
        self.count, self._dies_after = 0, dies_after
        self.chat = self
        self.completions = self
        if is_async:
            self.create = self.create_async  # type: ignore[method-assign]

    def create(self, **payload: Any) -> Any:
        from openai.types.chat import ChatCompletion

        if self._dies_after is not None and self.count >= self._dies_after:
            raise Death
        self.count += 1
        content = f"{payload['messages'][0]['content']} {next(NUMBERS)} é\u2028"
        message = {"role": "assistant", "content": content}
        return ChatCompletion.model_validate(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": payload["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}],
                "usage": {"prompt_tokens": 5, "completion_tokens": self.count, "total_tokens": 5 + self.count},
            }
        )

    async def create_async(self, **payload: Any) -> Any:
        return Endpoint.create(self, **payload)


def client(endpoint: Endpoint, *, is_async: bool = False) -> Any:
    import asyncio

    from lmms_eval.models.simple.dummy import Dummy

    class Client(Dummy):  # type: ignore[misc]
        num_concurrent = 2

        def __init__(self) -> None:
            super().__init__()
            self.client = endpoint

        def generate_until(self, requests: list[Any]) -> list[Any]:
            payloads = [{"model": "m", "messages": [{"role": "user", "content": r.args[0][:2]}]} for r in requests]
            if not is_async:
                made = [self.client.chat.completions.create(**payload) for payload in payloads]
            else:

                async def ask() -> list[Any]:
                    return [await self.client.chat.completions.create(**payload) for payload in payloads]

                made = asyncio.run(ask())
            return [f"{one.choices[0].message.content} {one.usage.completion_tokens}" for one in made]

    return Client()


@pytest.mark.parametrize("is_async", [False, True])
def test_completions_of_equal_requests_are_each_given_once(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    monkeypatch.setattr(chunk_size, "CONCURRENT_ROUNDS", 4)
    monkeypatch.setattr(chunk_size, "TAPPED_SECONDS", 0.0)
    answers: list[str] = []
    counts = []
    for dies_after in (11, 3, 14, None):
        endpoint = Endpoint(dies_after=dies_after, is_async=is_async)
        adapter = attempts.attach(client(endpoint, is_async=is_async))
        with contextlib.suppress(Death):
            answers = adapter.generate_until(make_requests(30, tasks=("a",)))
        counts.append(endpoint.count)
    # Thirty requests of three kinds, in chunks of eight: no completion is used twice, and none is asked for twice.
    assert len(answers) == len(set(answers)) == 30
    assert sum(counts) == 30


def test_completions_come_back_as_they_were(attempts: Attempts) -> None:
    first = attempts.attach(client(Endpoint())).generate_until(make_requests(5, tasks=("a",)))
    (path,) = (attempts.directory / "journal").glob("tap-*")
    kept = [line for line in read_lines(path) if isinstance(line, CompletionLine)]
    assert len(kept) == 5
    # As if the process had died before its chunk was whole.
    answers = attempts.directory / "journal" / str(JournalName(1, 0))
    answers.write_bytes(answers.read_bytes().splitlines(keepends=True)[0])
    endpoint = Endpoint()
    assert attempts.attach(client(endpoint)).generate_until(make_requests(5, tasks=("a",))) == first
    assert endpoint.count == 0


class CompletionHandler(BaseHTTPRequestHandler):
    """Answers by a number of its own, whatever is asked."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = Endpoint().create(**body).model_dump_json().encode()
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("name", ["openai", "async_openai"])
def test_the_adapters_of_endpoints_ask_nothing_twice(attempts: Attempts, name: str) -> None:
    from lmms_eval.api.instance import Instance
    from lmms_eval.models import get_model

    server = ThreadingHTTPServer(("127.0.0.1", 0), CompletionHandler)
    server.asked = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def make() -> Any:
        width = {"num_cpus": 2} if name == "async_openai" else {"num_concurrent": 2}
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        adapter = get_model(name)(model_version="stub", base_url=url, api_key="none-at-all", **width)
        adapter.task_dict["a"] = {"test": [None] * 6}
        return adapter

    def ask(doc: Any) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": "the same"}]}]

    def requests() -> list[Any]:
        kwargs = {"max_new_tokens": 4, "temperature": 1}
        metadata = {"task": "a", "doc_id": 0, "repeats": 1}
        return [
            Instance(
                request_type="generate_until",
                arguments=("x", ask, dict(kwargs), i, "a", "test"),
                idx=0,
                metadata=metadata,
            )
            for i in range(6)
        ]

    first = show(attempts.attach(make()).generate_until(requests()))
    assert len({text for text, _ in first}) == 6
    # As if the process had died before its chunk was whole.
    answers = attempts.directory / "journal" / str(JournalName(1, 0))
    answers.write_bytes(answers.read_bytes().splitlines(keepends=True)[0])
    second = show(attempts.attach(make()).generate_until(requests()))
    server.shutdown()
    server.server_close()
    assert sorted(map(str, second)) == sorted(map(str, first)) and server.asked == 6  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def same_generators() -> Iterator[None]:
    state = random.getstate()
    yield
    random.setstate(state)
