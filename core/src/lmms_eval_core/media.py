"""Media of samples: what the model adapter got of a document, kept for people who look at answers. Pure.

The runner's plug-in writes each file to `media/` in the run directory, named by the SHA-256 of its content, and a line
for each document to the journal. The reporter checks both, and puts the files into the pool of the namespace, where
runs of the same documents share them. The front end serves a file to readers of a run that shows it.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

# Of a document; more are counted.
MAX_ITEMS: Final = 16
DIGEST_BYTES: Final = 32
# Pixels of the longer side of what a list and what a page show.
THUMB_PIXELS: Final = 320
DISPLAY_PIXELS: Final = 1536
# Characters of the name of a task.
MAX_TASK: Final = 256
# Files of a run: so many have digests that fit into the memory of the reporter.
MAX_FILES: Final = 262_144
# Uncompressed bytes of a run's lines about media, all attempts and ranks together.
MAX_LINES_BYTES: Final = 256 * 1024 * 1024
# Of a side, in pixels, and of a duration in seconds: what is told of hostile files is bounded.
MAX_PIXELS: Final = 1_000_000
MAX_SECONDS: Final = 1_000_000

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Pixels = Annotated[int, Field(ge=1, le=MAX_PIXELS)]


class MediaPolicy(StrEnum):
    """What of the media of a run is kept, from the least to the most."""

    NONE = "none"
    THUMBS = "thumbs"
    DISPLAY = "display"
    ORIGINAL = "original"

    def permits(self, other: "MediaPolicy") -> bool:
        """Return whether `other` keeps no more than this one."""
        order = list(MediaPolicy)
        return order.index(other) <= order.index(self)


class MediaKind(StrEnum):
    """What the adapter got."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


class MediaOmission(StrEnum):
    """Why something of an item was not kept."""

    TOO_LARGE = "TooLarge"
    BEHIND = "Behind"
    BUDGET = "Budget"
    UNREADABLE = "Unreadable"
    NOT_KEPT = "NotKept"


class MediaItem(BaseModel):
    """One image, video or piece of audio of a document; `width` and `height` are the adapter's.

    The digests name files of the pool: `thumb` at most 320 pixels a side, `display` what a page shows or plays (of a
    video its poster), `original` the bytes that the task gave.
    """

    model_config = ConfigDict(extra="ignore")

    kind: MediaKind
    thumb: Digest | None = None
    display: Digest | None = None
    original: Digest | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    seconds: Annotated[FiniteFloat, Field(ge=0, le=MAX_SECONDS)] | None = None
    omitted: MediaOmission | None = Field(default=None, description="Why something of it was not kept.")

    @property
    def digests(self) -> list[str]:
        """The digests of its files."""
        return [digest for digest in (self.thumb, self.display, self.original) if digest is not None]


class DocumentMedia(BaseModel):
    """The media of one document of a task; `more` counts those that are not among the items."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    task: Annotated[str, Field(alias="t", max_length=MAX_TASK)]
    document: Annotated[int | str | None, Field(alias="d")] = None
    items: Annotated[list[MediaItem], Field(alias="i", max_length=MAX_ITEMS)]
    more: Annotated[int, Field(alias="x", ge=0)] = 0
