"""What the adapters of the pinned lmms-eval do, as far as the journal stands on it.

An upgrade that brings an adapter with a habit, or without one, fails here: read it, see that the journal takes it apart
rightly or leaves it alone, then change the number and the hash.
"""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]


class Habit(NamedTuple):
    """What files of adapters contain, how many do, and a hash of their names."""

    pattern: str
    files: int
    names: str


HABITS = {
    "is an adapter": Habit(r"^@register_model\(|^class \w+\(.*lmms\)", 136, "055f00291d5a"),
    # Its batches are learnt by a call that ends at the first of them.
    "makes batches by the Collator": Habit(r"\.get_batched\(", 70, "1217483dbc72"),
    # Two in a call are not foreseen; these have them in methods of their own.
    "has more than one Collator": Habit(r"(?s)\.get_batched\(.*\.get_batched\(", 3, "7fa7c9f35033"),
    "catches what the plan is told by": Habit(r"except BaseException|except:\s*$", 0, "e3b0c44298fc"),
    # Replaced before adapters are imported.
    "takes log_metrics by its name": Habit(r"import .*\blog_metrics\b|^\s+log_metrics,$", 17, "ca33d9a1bb3c"),
    # The last record of a process says all.
    "counts tokens since its start": Habit(r"def get_format_metrics", 2, "603c42a1cd3e"),
    # Made again before each chunk.
    "deletes its folder after a call": Habit(r"rmtree\(self\.work_dir", 2, "447e70071b2e"),
    # It gets that of the first request of all.
    "takes the metadata of the first request": Habit(r"requests\[0\]\.metadata", 7, "f87ea9484cfb"),
    # Units of one request, and large chunks.
    "has many requests under way": Habit(
        r"self\.(num_concurrent|num_cpus|num_processes|data_parallel|_workers|adaptive_config)\b", 11, "d12115a0e3ce"
    ),
    "speaks by the client of OpenAI": Habit(r"\.chat\.completions\.create\(", 7, "a525f713c8b1"),
    # Loses that once a chunk, of a second or one batch.
    "prepares a batch while another runs": Habit(r"ThreadPoolExecutor\(max_workers=1\)", 1, "df0efb46aa64"),
    "answers by threads or tasks": Habit(r"ThreadPoolExecutor|asyncio|threading\.Thread", 19, "0885c9b016e7"),
    # Such ranks leave out the same batches.
    "waits for other ranks in a batch": Habit(
        r"_tp_world_size|all_gather|\bbarrier\(|broadcast_object", 2, "a4a661700dba"
    ),
    # A wrapped method on the instance cannot be pickled.
    "starts processes of its own": Habit(r"ProcessPoolExecutor|multiprocessing\.(Pool|Process)", 0, "e3b0c44298fc"),
}


def list_adapters() -> dict[str, str]:
    spec = importlib.util.find_spec("lmms_eval")
    assert spec and spec.origin
    models = Path(spec.origin).parent / "models"
    return {f"{path.parent.name}/{path.stem}": path.read_text() for path in sorted(models.glob("*/*.py"))}


@pytest.mark.parametrize("habit", HABITS)
def test_every_adapter_has_the_habits_that_are_known(habit: str) -> None:
    pattern = re.compile(HABITS[habit].pattern, re.MULTILINE)
    found = [
        name for name, text in list_adapters().items() if not name.startswith("model_utils/") and pattern.search(text)
    ]
    digest = hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]
    assert (len(found), digest) == HABITS[habit][1:], f"{habit}: {', '.join(found)}"
