"""The journal without lmms-eval: what is packed comes back to the last bit, and a bad line ends its file alone."""

import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_process import build_run_input

from lmms_eval_core.journal import (
    MAX_LINE_BYTES,
    ChunkLine,
    CompletionLine,
    FailureLine,
    JournalAnswer,
    JournalBatch,
    JournalHeader,
    JournalKind,
    JournalName,
    NextLine,
    parse_journal_line,
)
from lmms_eval_core.run import ResumedAnswers, RunInput
from lmms_eval_runner.journal import random_state, upstream
from lmms_eval_runner.journal.attach import prepare_journal
from lmms_eval_runner.journal.chunk_size import ChunkSize
from lmms_eval_runner.journal.failed_batches import find_failed_batches, record_failed_batches
from lmms_eval_runner.journal.files import (
    JournalFull,
    JournalWriter,
    find_differing_parts,
    read_earlier_answers,
    read_lines,
)
from lmms_eval_runner.journal.identity import RequestKeys, Unkeyable, make_batch_id
from lmms_eval_runner.journal.packing import Unpackable, pack_answer, unpack, unpack_answer
from lmms_eval_runner.journal.run_journal import RunIdentity, RunJournal
from lmms_eval_runner.journal.shown_texts import Targets, find_prompt
from lmms_eval_runner.meter import Meter

IDS = [f"{number:020x}" for number in range(20)]
PARTS = {"run": "1", "weights": {"model": [1, 0, "x"]}}


class GenerationResult(NamedTuple):
    """As lmms-eval's; a tuple, so that two of them can be compared."""

    text: Any
    token_counts: Any


def make_result(text: Any, counts: list[Any] | None) -> Any:
    names = ("input_tokens", "output_tokens", "reasoning_tokens")
    return GenerationResult(text, None if counts is None else SimpleNamespace(**dict(zip(names, counts, strict=True))))


def write_and_read(fields: dict[str, Any]) -> JournalAnswer:
    answer = JournalAnswer(task="t", document=1, **fields)
    line = ChunkLine(batches=[JournalBatch(id=IDS[0], answers=[answer])], at=1.5, seconds=0.1).to_json()
    json.loads(line)
    read = parse_journal_line(line.encode())
    assert isinstance(read, ChunkLine)
    return read.batches[0].answers[0]


texts = st.text(st.characters())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_an_answer_comes_back_to_the_last_bit(value: Any) -> None:
    back = unpack_answer(write_and_read(pack_answer(value)), make_result)
    assert repr(back) == repr(value) and type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        "a\ud83d",
        'é\u2028\n"\0',
        (-1.2345678901234567e-7, True),
        (math.inf, False),
        math.nan,
        -0.0,
        10**400,
        ["a", ("b",)],
    ],
)
def test_what_json_cannot_hold_is_packed(value: Any) -> None:
    back = unpack_answer(write_and_read(pack_answer(value)), make_result)
    assert type(back) is type(value) and (back == value or math.isnan(back))


@pytest.mark.parametrize("text", ["plain", "a\ud83d", ""])
@pytest.mark.parametrize("counts", [None, [None, 4, None], [1, 2, 3], [1.5, None, 2**70]])
def test_a_text_keeps_its_counts(text: str, counts: list[Any] | None) -> None:
    back = unpack_answer(write_and_read(pack_answer(make_result(text, counts))), make_result)
    assert (back.text, back.token_counts and list(vars(back.token_counts).values())) == (text, counts)


class Text(str):
    pass


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize("value", [{1, 2}, b"x", Text("x"), object(), nested(40), {"a": {1}}])
def test_what_would_not_come_back_is_refused(value: Any) -> None:
    with pytest.raises(Unpackable):
        pack_answer(value)


@pytest.mark.parametrize(
    "packed", [[], ["x", 1], ["f", "a"], ["l", 1], ["s", "€"], ["i", 5], ["d", [1]], ["g", 1], ["t"]]
)
def test_what_nothing_was_packed_into_is_refused(packed: Any) -> None:
    with pytest.raises(Unpackable):
        unpack(packed, make_result)


def test_generators_come_back_to_where_they_were() -> None:
    random.seed(3)
    random.gauss(0, 1)
    before = random_state.capture()
    drawn = [random.random(), random.gauss(0, 1)]
    after = random_state.capture()
    changes = random_state.find_changes(before, after)
    assert set(changes) == {"random"} and random_state.find_changes(after, after) == {}
    encoded = json.loads(json.dumps(random_state.encode({"random": before["random"]})))
    random_state.apply(random_state.decode(encoded))
    assert [random.random(), random.gauss(0, 1)] == drawn


@pytest.mark.parametrize(
    "encoded", [{"random": []}, {"random": [3, "x", None]}, {"torch": "%%"}, {"torch": 5}, {"cuda": 1}]
)
def test_states_that_are_none_are_refused(encoded: dict[str, Any]) -> None:
    with pytest.raises(random_state.InvalidState):
        random_state.decode(encoded)


def request(text: str = "p", *, task: str = "t", document: int = 1, **kwargs: Any) -> SimpleNamespace:
    return SimpleNamespace(task_name=task, doc_id=document, idx=0, args=(text, kwargs, len, document, task, "test"))


def test_keys_tell_requests_apart_and_count_equal_ones() -> None:
    keys = RequestKeys()
    one, other = request(), request(temperature=1)
    first = keys.make("generate_until", [one, one, other, request("q"), request(document=2), request(task="u")])
    assert len(set(first)) == 6 and first[0].partition(".")[0] == first[1].partition(".")[0]
    # Another process gives the same keys.
    assert RequestKeys().make("generate_until", [request(), request(), request(temperature=1)]) == first[:3]
    assert keys.make("loglikelihood", [request()])[0] not in first
    assert keys.make("generate_until", [request()])[0].endswith(".2")
    assert make_batch_id(first) != make_batch_id(first[::-1])


def test_a_request_of_no_data_is_refused() -> None:
    with pytest.raises(Unkeyable):
        RequestKeys().make("generate_until", [SimpleNamespace(task_name="t", doc_id=1, idx=0, args=({1: 1, "a": 2},))])


def chunk(*ids: str, text: str = "x", **fields: Any) -> ChunkLine:
    answers = [JournalAnswer(task="t", document=1, text=text)]
    batches = [JournalBatch(id=one, answers=answers) for one in ids]
    return ChunkLine(batches=batches, at=1.0, seconds=0.5, **fields)


def write(folder: Path, name: JournalName, *lines: Any, parts: dict[str, Any] = PARTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / str(name)
    writer = JournalWriter(path, JournalHeader(attempt=name.attempt, rank=name.rank, parts=parts), room=10**6)
    for line in lines:
        assert writer.write(line.to_json())
    return path


def test_a_file_torn_anywhere_gives_its_whole_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "whole", JournalName(1, 0), NextLine(next=IDS[:1]), *(chunk(one) for one in IDS[:4]))
    content = path.read_bytes()
    folder = tmp_path / "torn"
    folder.mkdir()
    for cut in range(len(content) + 1):
        (folder / path.name).write_bytes(content[:cut])
        found = read_earlier_answers(folder, PARTS)
        whole = sum(line.startswith(b'{"b"') for line in content[:cut].split(b"\n")[:-1])
        assert list(found.batches) == IDS[:whole]


@pytest.mark.parametrize("bad", [b"\n", b"{}\n", b'{"b":[]}\n', b"\xff\n", b'{"b":' + b"[" * 10_000 + b"\n"])
def test_a_line_that_is_none_ends_its_file_and_no_other(tmp_path: Path, bad: bytes) -> None:
    path = write(tmp_path, JournalName(1, 0), chunk(IDS[0]))
    with path.open("ab") as file:
        file.write(bad + chunk(IDS[1]).to_json().encode() + b"\n")
    write(tmp_path, JournalName(2, 0), chunk(IDS[2]))
    assert set(read_earlier_answers(tmp_path, PARTS).batches) == {IDS[0], IDS[2]}


def test_files_of_other_names_headers_and_links_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, JournalName(1, 0), chunk(IDS[0]))
    path.rename(tmp_path / str(JournalName(1, 1)))
    (tmp_path / "a1-r0.jsonl").write_text("x")
    os.symlink("/etc/passwd", tmp_path / str(JournalName(2, 0)))
    assert not read_earlier_answers(tmp_path, PARTS).batches
    assert not read_earlier_answers(tmp_path / "missing", PARTS).batches


def test_the_first_answers_to_a_batch_count(tmp_path: Path) -> None:
    write(tmp_path, JournalName(2, 0), chunk(IDS[0], text="second"), chunk(IDS[1]))
    write(tmp_path, JournalName(1, 0), chunk(IDS[0], text="first"))
    found = read_earlier_answers(tmp_path, PARTS)
    assert found.batches[IDS[0]].answers[0].text == "first"
    assert (found.count, found.last_attempt, len(found.chunks)) == (2, 2, 3)


def test_only_the_newest_attempts_are_read(tmp_path: Path) -> None:
    for attempt in range(1, 26):
        write(tmp_path, JournalName(attempt, 0), chunk(f"{attempt:020x}"))
    assert sorted(read_earlier_answers(tmp_path, PARTS).batches) == [f"{attempt:020x}" for attempt in range(6, 26)]


def test_parts_that_differ_are_told(tmp_path: Path) -> None:
    write(tmp_path, JournalName(1, 0), chunk(IDS[0]), parts={**PARTS, "run": "2", "tasks": {}})
    found = read_earlier_answers(tmp_path, PARTS)
    assert found.refused == {1: ["run", "tasks"]} and not found.batches
    assert find_differing_parts(PARTS, json.loads(json.dumps(PARTS))) == []


def completion(number: int, *, text: str = "x") -> CompletionLine:
    return CompletionLine(key=f"{'k' * 20}.1.0.{number}", response={"text": text} if text else {})


def test_completions_are_left_that_no_answer_was_made_of(tmp_path: Path) -> None:
    write(tmp_path, JournalName(1, 0), chunk(IDS[0], completions=2))
    write(tmp_path, JournalName(1, 0, JournalKind.COMPLETIONS), *map(completion, range(5)))
    keys = [line.key for line in read_earlier_answers(tmp_path, PARTS).completions]
    assert keys == [completion(number).key for number in (2, 3, 4)]
    # The second attempt used one of them for an answer, and another for none yet.
    write(tmp_path, JournalName(2, 0), chunk(IDS[1], completions=1))
    write(tmp_path, JournalName(2, 0, JournalKind.COMPLETIONS), completion(3, text=""), completion(2, text=""))
    keys = [line.key for line in read_earlier_answers(tmp_path, PARTS).completions]
    assert keys == [completion(number).key for number in (2, 4)]


def test_a_line_that_is_too_long_or_too_deep_is_not_written(tmp_path: Path) -> None:
    header = JournalHeader(attempt=1, rank=0, parts={})
    writer = JournalWriter(tmp_path / "j", header, room=3 * MAX_LINE_BYTES)
    assert not writer.write("x" * MAX_LINE_BYTES)
    assert not writer.write("[" * 200 + "]" * 200)
    assert writer.write(NextLine(next=IDS).to_json())
    assert len(list(read_lines(tmp_path / "j"))) == 2


def test_a_file_grows_no_further_than_its_room(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j", JournalHeader(attempt=1, rank=0, parts={}), room=300)
    with pytest.raises(JournalFull):
        for _ in range(20):
            writer.write(NextLine(next=IDS[:2]).to_json())
    assert 200 < (tmp_path / "j").stat().st_size <= 300


def make_journal(
    directory: Path, meter: Meter | None = None, *, identify: Callable[[], RunIdentity] | None = None
) -> RunJournal:
    identity = RunIdentity(PARTS, is_exact=True)
    run = RunInput.model_validate(build_run_input(attempt=2))
    return RunJournal(run, directory, meter=meter, identify=identify or (lambda: identity), secrets={"s3cr3t-value"})


def test_a_run_that_cannot_be_told_has_no_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> RunIdentity:
        raise ValueError("a data set without rows")

    meter = Meter(tmp_path, lambda: 1.0)
    journal = make_journal(tmp_path, meter, identify=fail)
    journal.open()
    assert journal.off == meter.report.journal_off == "ValueError: a data set without rows"
    assert capsys.readouterr().err == f"lmms-eval-runner: no journal from here on: {journal.off}\n"
    journal.write_next(IDS)
    assert not (tmp_path / "journal").exists()


def test_a_harness_that_cannot_be_prepared_has_no_journal_and_the_progress_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ImportError("cannot import name 'Collator'\nfrom 'lmms_eval.utils'")

    monkeypatch.setattr(upstream, "install", fail)
    run = RunInput.model_validate(build_run_input())
    assert not prepare_journal(run, Meter(tmp_path, lambda: 1.0)) and not prepare_journal(run, None)
    why = "ImportError: cannot import name 'Collator' from 'lmms_eval.utils'"
    assert json.loads((tmp_path / "progress.json").read_text())["journalOff"] == why
    assert capsys.readouterr().err == f"lmms-eval-runner: no journal: {why}\n" * 2


def test_the_meter_hears_of_earlier_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "earlier", JournalName(1, 0), chunk(*IDS[:3]))
    meter = Meter(tmp_path, lambda: 1.0)
    journal = make_journal(tmp_path, meter)
    journal.open()
    assert capsys.readouterr().err == "lmms-eval-runner: goes on after 3 answers of attempts up to 1\n"
    assert journal.find(IDS[0], 1) and not journal.find(IDS[0], 2) and not journal.find(IDS[5], 1)
    journal.count_resumed(3)
    assert meter.report.resumed == ResumedAnswers(answers=3, from_attempt=1, exactness="exact")
    journal.count_resumed(-3)
    assert meter.report.resumed is None
    journal.write_chunk(chunk(IDS[5]), 4)
    assert meter.report.journaled == 4
    assert not journal.write_completion(CompletionLine(key="k", response={"text": "the s3cr3t-value"}))


def test_prompts_and_targets_are_for_people() -> None:
    class Task:
        eval_docs_no_media: tuple[dict[str, Any], ...] = ({"answer": "A"}, {"answer": ["B\ud83d", 2]}, {})

        def doc_to_target(self, doc: dict[str, Any]) -> Any:
            return doc["answer"]

    targets = Targets({"t": Task()})
    assert targets.find(request(document=0)) == "A"
    assert targets.find(request(document=1)) == "['B\\ud83d', 2]"
    assert targets.find(request(document=2)) is None and targets.find(request(task="u")) is None
    assert find_prompt(request("a\ud83d")) == "a?" and find_prompt(SimpleNamespace(args=(len,))) is None


def test_chunks_grow_to_a_second_of_work() -> None:
    size = ChunkSize()
    counts = []
    for _ in range(12):
        counts.append(size.count)
        size.record(0.01 * size.count, size.count)
    assert counts[:4] == [1, 2, 4, 8] and max(counts) == 100
    size.record(50, 100)
    assert size.count == 2
    size.record(50, 2)
    assert size.count == 1


def test_chunks_of_clients_keep_them_busy() -> None:
    size = ChunkSize(concurrency=4, tapped=True)
    assert size.count == 32
    for _ in range(9):
        size.record(0.1, size.count)
    assert size.count == 1024
    size.record(600, 1024)
    assert size.count == 102
    assert ChunkSize(concurrency=4).count == 32


# --- which batch failed ---


def fail(directory: Path, attempt: int, *lines: Any, earlier: bool = False) -> None:
    write(directory / ("earlier" if earlier else "journal"), JournalName(attempt, 0), *lines)


FAILED = [NextLine(next=IDS[5:6]), FailureLine(failed=IDS[5:6], reason="OutOfMemory")]


def test_a_failure_after_answers_may_go_on(tmp_path: Path) -> None:
    fail(tmp_path, 1, NextLine(next=IDS[:1]), chunk(IDS[0]), *FAILED)
    assert find_failed_batches(tmp_path, 1).can_go_on


def test_a_failure_of_the_first_batch_may_not(tmp_path: Path) -> None:
    fail(tmp_path, 2, *FAILED)
    assert not find_failed_batches(tmp_path, 2).can_go_on


def test_a_failure_of_the_same_batch_may_not(tmp_path: Path) -> None:
    fail(tmp_path, 1, chunk(IDS[0]), *FAILED, earlier=True)
    fail(tmp_path, 2, chunk(IDS[1]), *FAILED)
    found = find_failed_batches(tmp_path, 2)
    assert found.is_repeated and not found.can_go_on


def test_a_failure_of_another_batch_may_go_on(tmp_path: Path) -> None:
    fail(
        tmp_path,
        1,
        chunk(IDS[0]),
        NextLine(next=IDS[6:7]),
        FailureLine(failed=IDS[6:7], reason="OutOfMemory"),
        earlier=True,
    )
    fail(tmp_path, 2, chunk(IDS[1]), *FAILED)
    assert find_failed_batches(tmp_path, 2).can_go_on


def test_without_a_record_nothing_is_known(tmp_path: Path) -> None:
    assert not find_failed_batches(tmp_path, 1).can_go_on
    fail(tmp_path, 1, chunk(IDS[0]), NextLine(next=IDS[5:6]))
    assert not find_failed_batches(tmp_path, 1).can_go_on


def test_what_ran_when_the_kernel_killed_it_is_put_on_record(tmp_path: Path) -> None:
    fail(tmp_path, 1, chunk(IDS[0]), NextLine(next=IDS[5:6]))
    from lmms_eval_core.phases import Reason

    record_failed_batches(tmp_path, 1, Reason.OUT_OF_MEMORY)
    assert find_failed_batches(tmp_path, 1).can_go_on
    last = list(read_lines(tmp_path / "journal" / str(JournalName(1, 0))))[-1]
    assert isinstance(last, FailureLine) and last.failed == IDS[5:6]
