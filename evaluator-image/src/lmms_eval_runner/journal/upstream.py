"""All that the journal touches inside lmms-eval: how adapters batch, what they show and record, and the tasks.

`install` replaces functions of lmms-eval by ones that do the same, until a journal asks otherwise for the time of a
call of the adapter. It comes before adapters are imported, which take `log_metrics` by its name.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

# An answer that begins so is none.
FAILED: Final = ("[LMMS_EVAL_REQUEST_FAILED", "[LMMS_EVAL_BUDGET_EXCEEDED]")
_ADAPTERS: Final = "lmms_eval.models"


class Planned(BaseException):
    """Leaves the adapter at its first batch, before it answers anything. No Exception: adapters swallow those."""

    def __init__(self, batches: list[list[int]]) -> None:
        super().__init__(len(batches))
        self.batches = batches


class CollatorFound(BaseException):
    """The adapter makes its batches by lmms-eval's Collator, which the plan did not foresee."""


class UnknownHabit(BaseException):
    """The adapter does what the journal does not know how to take apart."""


class _Collation(threading.local):
    """What a Collator is to do in this thread: as ever (None), plan, be refused, or make batches of these sizes."""

    planning = False
    refusing = False
    sizes: list[int] | None = None
    used = 0


_collation = _Collation()
_quiet = 0
_errors = 0
_tasks: dict[str, Any] = {}


def install() -> None:
    """Replace the functions, once in a process."""
    from lmms_eval.models.model_utils import gen_metrics
    from lmms_eval.models.model_utils.progress import SlurmProgress
    from lmms_eval.utils import Collator
    from tqdm.std import tqdm

    Collator.get_batched = _make_get_batched(Collator.get_batched)
    gen_metrics.log_metrics = _make_log_metrics(gen_metrics.log_metrics, gen_metrics._record_metrics)
    for bars in (tqdm, SlurmProgress):
        bars.__init__ = _make_bar_init(bars.__init__)


def watch() -> None:
    """Watch tasks and errors. It comes when the adapter is made: lmms-eval has set up its log by then."""
    from lmms_eval.api.task import Task
    from loguru import logger

    Task.build_all_requests = _make_build_all_requests(Task.build_all_requests)
    logger.add(_count_error, level="ERROR", filter=lambda record: (record["name"] or "").startswith(_ADAPTERS))


# --- batches ---


def plan_batches(call: Any, requests: Sequence[Any]) -> list[list[int]]:
    """Return the batches that the adapter would make of all requests, as their places; raises UnknownHabit."""
    _collation.planning = True
    try:
        with silence():
            call(list(requests))
    except Planned as planned:
        if sorted(place for batch in planned.batches for place in batch) != list(range(len(requests))):
            raise UnknownHabit("the adapter gives its Collator other requests than it gets") from None
        return planned.batches
    finally:
        _collation.planning = False
    raise UnknownHabit("the adapter makes its batches by a Collator at one time and not at another")


@contextlib.contextmanager
def fix_batches(sizes: list[int] | None) -> Iterator[None]:
    """Have a Collator make batches of these sizes, in order; None where none is expected."""
    _collation.sizes, _collation.refusing, _collation.used = sizes, sizes is None, 0
    try:
        yield
    finally:
        _collation.sizes, _collation.refusing = None, False


def _make_get_batched(original: Any) -> Any:
    @functools.wraps(original)
    def get_batched(self: Any, n: int = 1, batch_fn: Any = None) -> Any:
        if _collation.planning:
            raise Planned(_list_batches(self, original(self, n, batch_fn)))
        if _collation.refusing:
            raise CollatorFound
        if _collation.sizes is None:
            return original(self, n, batch_fn)
        return _repeat_batches(self, _collation.sizes)

    return get_batched


def _list_batches(collator: Any, batches: Iterator[Any]) -> list[list[int]]:
    listed, taken = [], 0
    for batch in batches:
        # The places grow by groups, ahead of the batches.
        listed.append(list(collator.reorder_indices[taken : taken + len(batch)]))
        taken += len(batch)
    return listed


def _repeat_batches(collator: Any, sizes: list[int]) -> Iterator[list[Any]]:
    _collation.used += 1
    if sum(sizes) != collator.size or _collation.used > 1:
        raise UnknownHabit("the adapter uses more than one Collator in a call")
    groups = collator.arr_with_indices.values() if collator.grouping else [collator.arr_with_indices]
    by_place = dict(pair for group in groups for pair in group)
    collator.reorder_indices = list(range(collator.size))
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return iter([[by_place[place] for place in range(end - size, end)] for size, end in zip(sizes, ends, strict=True)])


# --- what adapters show and record ---


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Disable the bars that adapters make, and their lines about throughput: a chunk is no run."""
    global _quiet
    _quiet += 1
    try:
        yield
    finally:
        _quiet -= 1


def _make_bar_init(original: Any) -> Any:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if _quiet:
            kwargs["disable"] = True
        original(self, *args, **kwargs)

    return init


def _make_log_metrics(original: Any, record: Any) -> Any:
    @functools.wraps(original)
    def log_metrics(*args: Any, **kwargs: Any) -> Any:
        return (record if _quiet else original)(*args, **kwargs)

    return log_metrics


class Records:
    """The records of throughput and usage in this process."""

    def __init__(self) -> None:
        from lmms_eval.models.model_utils import gen_metrics, usage_metrics

        self.throughput: list[dict[str, Any]] = gen_metrics._THROUGHPUT_METRICS_HISTORY
        self.usage: list[dict[str, Any]] = usage_metrics._USAGE_HISTORY
        self._usage_metrics = usage_metrics

    @property
    def counts(self) -> tuple[int, int]:
        """How many there are of each."""
        return len(self.throughput), len(self.usage)

    def add_usage(self, records: Sequence[dict[str, Any]]) -> None:
        """Add records of usage, which count towards the budget of tokens."""
        with self._usage_metrics._USAGE_LOCK:
            self.usage.extend(records)
            self._usage_metrics._check_budget()

    def cut(self, counts: tuple[int, int]) -> None:
        """Leave as many of each as there were."""
        del self.throughput[counts[0] :]
        with self._usage_metrics._USAGE_LOCK:
            del self.usage[counts[1] :]


def count_errors() -> int:
    """Return how many errors adapters have logged: they turn many of them into empty answers."""
    return _errors


def _count_error(message: Any) -> None:
    global _errors
    _errors += 1


def make_result(text: Any, counts: list[Any] | None) -> Any:
    """Make lmms-eval's text with counts of tokens."""
    from lmms_eval.api.instance import GenerationResult, TokenCounts

    return GenerationResult(text, None if counts is None else TokenCounts(*counts))


def make_bar(total: int, *, shown: bool) -> Any:
    """Make the bar of a call of the evaluator, as adapters do."""
    from tqdm import tqdm

    return tqdm(total=total, disable=not shown, desc="Model Responding")


# --- tasks ---


def list_tasks() -> dict[str, Any]:
    """Return the tasks whose requests were built in this process, by name."""
    return _tasks


def find_package() -> Path:
    """Return the folder of lmms-eval itself."""
    import lmms_eval

    return Path(lmms_eval.__file__).parent


def _make_build_all_requests(original: Any) -> Any:
    @functools.wraps(original)
    def build_all_requests(self: Any, *args: Any, **kwargs: Any) -> Any:
        _tasks[str(getattr(self.config, "task", None))] = self
        return original(self, *args, **kwargs)

    return build_all_requests


# --- several ranks ---


def is_in_lockstep(adapter: Any) -> bool:
    """Return whether the ranks of an adapter take part in each other's batches: none may leave one out alone."""
    if int(getattr(adapter, "_tp_world_size", 1) or 1) > 1:
        return True
    kind = getattr(getattr(adapter, "accelerator", None), "distributed_type", None)
    return getattr(kind, "name", "") in ("FSDP", "DEEPSPEED", "MEGATRON_LM")


def agree_on_least(count: int) -> int:
    """Return the least `count` of all ranks; each of them has to ask."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return count
    counts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(counts, count)
    return int(min(counts))
