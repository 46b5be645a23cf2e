import io
import json

import pytest
import zstandard

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome
from lmms_eval_reporter.content import Count
from lmms_eval_reporter.run_directory import UnsafeFile
from lmms_eval_reporter.settings import UploadLimits
from lmms_eval_reporter.sources import list_sources, list_task_sources

STAMP = "20261123_070000"


def outcome(samples: dict[str, str], results: str | None = f"output/{STAMP}_results.json") -> Outcome:
    return Outcome(reason=Reason.SUCCEEDED, exit_code=0, results=results, samples=samples)


def test_results_samples_and_log_have_their_places() -> None:
    found = list(list_sources(outcome({"mme": f"output/{STAMP}_samples_mme.jsonl"}), UploadLimits()))
    assert [(source.name, source.find_path(), source.keep_end) for source in found] == [
        ("results.json", f"output/{STAMP}_results.json", False),
        ("samples/mme.jsonl.zst", f"output/{STAMP}_samples_mme.jsonl", False),
        ("log.txt.zst", "log.txt", True),
    ]


def test_the_log_goes_even_without_results() -> None:
    assert [source.name for source in list_sources(outcome({}, results=None), UploadLimits())] == ["log.txt.zst"]


def test_tasks_never_share_a_file() -> None:
    names = ["a/b", "a_b", "a:b", "../a", "..", ".", "", "x" * 300, "x" * 301, "a_b-1"]
    found = [source.name for source in list_sources(outcome({name: "output/x" for name in names}), UploadLimits())]
    assert len(set(found)) == len(names) + 2
    assert all(name.count("/") <= 1 and ".." not in name.split("/") for name in found)


def test_no_more_files_than_the_limit() -> None:
    many = {f"t{n}": "output/x" for n in range(50)}
    assert len([s for s in list_sources(outcome(many), UploadLimits(files=10)) if s.name.startswith("samples/")]) == 10


def test_what_is_stored_is_json_for_every_reader() -> None:
    results, samples, _ = list_sources(outcome({"mme": f"output/{STAMP}_samples_mme.jsonl"}), UploadLimits())
    count = Count()
    assert (
        b"".join(results.convert([b'{"results": {"t": {"m,no', b'ne": NaN}}}'], count))
        == b'{"results": {"t": {"m,none": null}}}'
    )
    lines = [
        b'{"a": "NaN \\" Infinity", "b": -Infi',
        b"nity}\n" + b"[" * 200 + b"]" * 200 + b"\n",
        b'{"n": ' + b"9" * 5000 + b"}",
    ]
    stored = (
        zstandard.ZstdDecompressor()
        .stream_reader(io.BytesIO(b"".join(samples.convert(lines, count))))
        .read()
        .splitlines()
    )
    assert stored[0] == b'{"a": "NaN \\" Infinity", "b": null}'
    assert json.loads(stored[1]) == {"omitted": "this line is nested deeper than 100 levels"}
    assert stored[2] == b'{"n": null}'
    assert count.omitted == 1


@pytest.mark.parametrize("content", [b'{"results": {%s}}' % b",".join([b'"t":{}'] * 600_000), b"[" * 200])
def test_results_that_would_fill_the_memory_of_a_reader_are_not_stored(content: bytes) -> None:
    results, *_ = list_sources(outcome({}), UploadLimits())
    with pytest.raises(UnsafeFile, match="the results file"):
        results.convert([content], Count())


def test_what_tasks_wrote_is_stored_under_its_path() -> None:
    ran = outcome({"mme": f"output/{STAMP}_samples_mme.jsonl"})
    paths = [ran.results or "", *ran.samples.values(), "output/submissions/a b.json", "work/x.csv"]
    found = list(list_task_sources(ran, paths, UploadLimits()))
    assert [(source.name, source.find_path()) for source in found] == [
        ("files/output/submissions/a_b.json.zst", "output/submissions/a b.json"),
        ("files/work/x.csv.zst", "work/x.csv"),
    ]


def test_names_of_task_files_are_bounded_and_never_shared() -> None:
    paths = [f"work/{name}" for name in ("a b", "a_b", "a\u202eb", "..", ".", "x" * 300)] + ["work/a/b"]
    names = [source.name for source in list_task_sources(outcome({}), paths, UploadLimits())]
    assert len(set(names)) == len(paths)
    assert all(name.isascii() and len(name) < 300 and ".." not in name.split("/") for name in names)
    assert len(list(list_task_sources(outcome({}), map(str, range(50)), UploadLimits(task_files=10)))) == 10


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (b"id,answer\r\n1,\x1b[31m hf_" + b"A" * 20 + b"\n", b"id,answer\r\n1,\x1b[31m [REDACTED]\n"),
        (b"\x89PNG\0 hf_" + b"A" * 20, None),
        (b"\xff\xfe token=" + b"B" * 20, None),
        ("ü".encode() * 600_000 + b"\n\xff odd", None),
        (b"", None),
    ],
)
def test_text_is_stored_without_secrets_and_everything_else_as_it_is(content: bytes, stored: bytes | None) -> None:
    (source,) = list_task_sources(outcome({}), ["work/a"], UploadLimits())
    pieces = [content[at : at + 1_000_001] for at in range(0, len(content), 1_000_001)]
    packed = b"".join(source.convert(pieces, Count()))
    read = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True).read()
    assert read == (content if stored is None else stored)
