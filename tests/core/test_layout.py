import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.journal import JournalKind, JournalName
from lmms_eval_core.layout import (
    EVALUATION_FOLDER,
    FILE_OF_AN_ATTEMPT,
    ORPHANS_FILE,
    OWNER_FILES,
    STORED_CATALOGUE,
    ArtifactPrefix,
    catalogue_file,
    evaluation_folder,
    group_journal_segments,
    journal_segment,
    owner_file,
    parse_journal_segment,
    sample_file,
    segment,
)

UID = "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b"


def test_an_attempt_has_a_prefix_below_its_evaluation() -> None:
    prefix = ArtifactPrefix("team", "nightly", UID, 2)
    assert prefix.evaluation == "team/nightly-0f4c6a1e/"
    assert prefix.file("results.json") == "team/nightly-0f4c6a1e/a2/results.json"


NAME = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(NAME, st.uuids().map(str), st.integers(1, 11), st.text(min_size=1))
def test_what_is_stored_of_an_evaluation_is_known_as_such(name: str, uid: str, attempt: int, task: str) -> None:
    prefix = ArtifactPrefix("team", name, uid, attempt)
    namespace, folder, file = prefix.file(sample_file(task)).split("/", 2)
    assert (namespace, folder) == ("team", evaluation_folder(name, uid))
    assert EVALUATION_FOLDER.fullmatch(folder) and FILE_OF_AN_ATTEMPT.fullmatch(file)


@given(NAME, NAME, st.uuids().map(str))
def test_another_installation_below_a_folder_is_not_taken_for_an_attempt(namespace: str, name: str, uid: str) -> None:
    theirs = ArtifactPrefix(namespace, name, uid, 1)
    ours = [f"{namespace}/{file}" for file in (owner_file(uid), ORPHANS_FILE, catalogue_file("0123abcd"))]
    for file in (theirs.file("results.json"), *ours):
        below = file.split("/", 1)[1]
        assert not FILE_OF_AN_ATTEMPT.fullmatch(below)
    assert not EVALUATION_FOLDER.fullmatch(owner_file(uid))


def test_a_catalogue_is_taken_neither_for_an_evaluation_nor_for_an_owner() -> None:
    file = catalogue_file("0123abcd")
    assert STORED_CATALOGUE.fullmatch(file) and not STORED_CATALOGUE.fullmatch(file + "/a1")
    assert not EVALUATION_FOLDER.fullmatch(file) and not file.startswith(OWNER_FILES) and "/" not in file


@given(st.text())
def test_a_segment_never_leaves_its_folder(text: str) -> None:
    name = segment(text)
    assert name and "/" not in name and name.strip(".")
    assert sample_file(text).count("/") == 1


@given(st.sampled_from(["a000003-r0.jsonl", "tap-a000012-r63.jsonl"]), st.integers(0, 99_999))
def test_a_segment_of_a_journal_is_known_by_its_name(name: str, number: int) -> None:
    assert parse_journal_segment(journal_segment(name, number)) == (name, number)
    assert FILE_OF_AN_ATTEMPT.fullmatch(f"a3/{journal_segment(name, number)}")


@pytest.mark.parametrize(
    "file", ["journal/a-0000", "a-0000.zst", "journal/x/a-0000.zst", "journal/a-000.zst", "journal/-0000.zst"]
)
def test_other_files_are_no_segments(file: str) -> None:
    assert parse_journal_segment(file) is None


def test_segments_are_grouped_by_the_journals_of_their_attempt() -> None:
    own = {JournalName(3, 0): {0, 1, 4}, JournalName(3, 63): {0}, JournalName(3, 0, JournalKind.COMPLETIONS): {2}}
    files = [journal_segment(str(name), number) for name, numbers in own.items() for number in numbers]
    odd = ["a000002-r0.jsonl", "a000003-r00.jsonl", "a3-r0.jsonl", "x", "..", "a000003-r0.jsonl.zst"]
    others = [*(journal_segment(name, 0) for name in odd), "results.json", "journal/a000003-r0.jsonl-0000"]
    assert group_journal_segments([*others, *files], 3) == own
