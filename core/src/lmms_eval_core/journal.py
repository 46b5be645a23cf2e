"""The journal of a run: what was answered, chunk by chunk, so that a later attempt goes on where this one ended. Pure.

The runner's plug-in inside lmms-eval appends to `journal/` in the run directory, a file for each rank and one for each
kind; the reporter stores what is whole of it, and puts the files of earlier attempts into `earlier/` before the
evaluator starts. The front end shows the answers while the run goes on.

    {"v":1,"header":{"attempt":3,"rank":0,"parts":{...}}}      the first line: for which run the answers are good
    {"n":["<batch id>",...]}                                   these batches are asked for next
    {"b":[{"id":"<batch id>","a":[{...},...]}],"at":...,...}   the answers to a chunk of whole batches
    {"f":["<batch id>",...],"r":"OutOfMemory"}                 these batches failed, and would not end well
    {"k":"<key>","r":{...}}                                    one completion of an endpoint (files `tap-`)
    {"m":{"t":"<task>","d":2,"i":[{...},...]}}                 the media of a document (files `media-`)

Every line is valid JSON in UTF-8: texts and floats that JSON cannot hold are packed by the runner. A line without its
end, or one that is not of these shapes, ends the file.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from lmms_eval_core.json_text import parse_excess
from lmms_eval_core.media import DocumentMedia
from lmms_eval_core.spec import MAX_GPUS

VERSION: Final = 1
# A longer line is not written, and not read: the answers of its chunk are asked for again. Nor is one with more values
# than `json_text.parse_excess` allows (500,000), which would take too much memory to parse.
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
# Of one evaluation, uncompressed; beyond, the runner journals no more.
MAX_JOURNAL_BYTES: Final = 1024 * 1024 * 1024
# Characters of a prompt and of a target, which only people read.
MAX_SHOWN: Final = 4000
# Processes of a run, each of which has a journal.
MAX_RANKS: Final = MAX_GPUS
# Earlier attempts whose journals are read.
MAX_EARLIER_ATTEMPTS: Final = 20

_NAME: Final = re.compile(r"(?P<kind>tap-|media-|)a(?P<attempt>[0-9]{6})-r(?P<rank>[0-9]{1,4})\.jsonl")

BatchId = Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]


class JournalKind(StrEnum):
    """What the lines of a file are about; the value is the beginning of its name."""

    ANSWERS = ""
    COMPLETIONS = "tap-"
    MEDIA = "media-"


class JournalName(NamedTuple):
    """Whose journal a file is, an attempt's and a rank's, and of what."""

    attempt: int
    rank: int
    kind: JournalKind = JournalKind.ANSWERS

    def __str__(self) -> str:
        return f"{self.kind}a{self.attempt:06d}-r{self.rank}.jsonl"


def parse_journal_name(name: str) -> JournalName | None:
    """Return whose journal the file of this name is; None for a file that is none."""
    found = _NAME.fullmatch(name)
    return JournalName(int(found["attempt"]), int(found["rank"]), JournalKind(found["kind"])) if found else None


class _Line(BaseModel):
    """Base of the lines: readers ignore what they do not know."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """Return the line, without its end."""
        return self.model_dump_json(by_alias=True, exclude_unset=True)


class JournalHeader(_Line):
    """Attempt and rank of the file, and what must be the same for its answers to be answers of another run."""

    attempt: int
    rank: int
    parts: dict[str, Any]


class HeaderLine(_Line):
    """The first line of a file."""

    version: Annotated[int, Field(alias="v", ge=VERSION, le=VERSION)]
    header: JournalHeader


class JournalAnswer(_Line):
    """One answer: a text, with its counts of tokens where the adapter gives them; or anything else, packed.

    `prompt` and `target` are for people, and cut to `MAX_SHOWN` characters. `arguments` is there where the adapter
    wrote into arguments that later requests share: what it left there, packed.
    """

    task: Annotated[str, Field(alias="t")]
    document: Annotated[int | str | None, Field(alias="d")] = None
    text: Annotated[str | None, Field(alias="s")] = None
    tokens: Annotated[tuple[int | None, int | None, int | None] | None, Field(alias="c")] = None
    packed: Annotated[Any, Field(alias="j")] = None
    prompt: Annotated[str | None, Field(alias="p", max_length=MAX_SHOWN)] = None
    target: Annotated[str | None, Field(alias="g", max_length=MAX_SHOWN)] = None
    arguments: Annotated[Any, Field(alias="w")] = None


class JournalBatch(_Line):
    """The answers of one batch, in its order."""

    id: BatchId
    answers: Annotated[list[JournalAnswer], Field(alias="a", min_length=1)]


class ChunkLine(_Line):
    """The answers to one call of the adapter, and what it left behind in the process.

    `at` is the Unix time of its end, `seconds` how long it took. `random_state` is there where it changed.
    `completions` counts the lines of the attempt's `tap-` file, without its header, that this chunk and those before it
    are made of: they stand in answers, and are no answers to anything else.
    """

    batches: Annotated[list[JournalBatch], Field(alias="b", min_length=1)]
    at: FiniteFloat
    seconds: Annotated[FiniteFloat, Field(alias="s")]
    random_state: Annotated[dict[str, Any] | None, Field(alias="rng")] = None
    throughput: Annotated[list[dict[str, Any]], Field(alias="m")] = Field(default_factory=list)
    usage: Annotated[list[dict[str, Any]], Field(alias="u")] = Field(default_factory=list)
    completions: Annotated[int | None, Field(alias="t", ge=0)] = None


class NextLine(_Line):
    """The batches that are asked for next: after a death, those that ran."""

    next: Annotated[list[BatchId], Field(alias="n")]


class FailureLine(_Line):
    """The batches during which the adapter failed for good, and the failure class."""

    failed: Annotated[list[BatchId], Field(alias="f")]
    reason: Annotated[str, Field(alias="r", max_length=64)]


class CompletionLine(_Line):
    """A completion of an endpoint: `key` is the hash of its request, and attempt, rank and number that make it unique.

    Without a response: the completion of an earlier attempt that has this key was used here.
    """

    key: Annotated[str, Field(alias="k", max_length=64)]
    response: Annotated[dict[str, Any], Field(alias="r")]


class MediaLine(_Line):
    """The media of one document."""

    media: Annotated[DocumentMedia, Field(alias="m")]


JournalLine = HeaderLine | ChunkLine | NextLine | FailureLine | CompletionLine | MediaLine

_KINDS: Final[tuple[tuple[bytes, type[JournalLine]], ...]] = (
    (b'{"b":', ChunkLine),
    (b'{"n":', NextLine),
    (b'{"v":', HeaderLine),
    (b'{"f":', FailureLine),
    (b'{"k":', CompletionLine),
    (b'{"m":', MediaLine),
)


def parse_journal_line(line: bytes) -> JournalLine | None:
    """Return what a whole line says, with its end or without; None where it is not one of ours."""
    if len(line) > MAX_LINE_BYTES:
        return None
    kind = next((kind for start, kind in _KINDS if line.startswith(start)), None)
    if kind is None or parse_excess(line):
        return None
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        return None
