"""One call of the evaluator, taken apart: what earlier attempts have answered is given again, and the rest is asked for
in chunks of whole batches, exactly those that the adapter would have made of all of it.
"""

import copy
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from lmms_eval_core.journal import ChunkLine, JournalAnswer, JournalBatch
from lmms_eval_core.phases import Reason

from . import random_state, upstream
from .chunk_size import ChunkSize
from .identity import make_batch_id
from .packing import Unpackable, pack_answer, pack_record, unpack_answer, unpack_record
from .request_arguments import RequestArguments
from .run_journal import RunJournal, read_time
from .shown_texts import Targets, cut, find_prompt

_BATCH_SIZES: Final = ("batch_size", "batch_size_per_gpu")
_CONCURRENCY: Final = ("num_concurrent", "num_cpus", "num_processes", "data_parallel")
_UNANSWERED: Final = object()

Batch = list[int]


class AdapterCall:
    """The requests of one call, their batches, and the answers as far as there are any."""

    def __init__(
        self,
        journal: RunJournal,
        adapter: Any,
        original: Callable[[list[Any]], Any],
        requests: list[Any],
        keys: list[str],
        *,
        records: upstream.Records,
        targets: Targets,
        has_collator: bool,
        shown: bool,
        tapped: bool,
    ) -> None:
        self._journal, self._adapter, self._original, self._requests = journal, adapter, original, requests
        self._keys, self._targets, self._tapped = keys, targets, tapped
        self.has_collator = has_collator
        self._answers: list[Any] = [_UNANSWERED] * len(requests)
        self._records = records
        self._began = random_state.capture(), self._records.counts
        self._arguments = RequestArguments(requests)
        self._cumulative: tuple[int, dict[str, Any] | None] = 0, None
        self._resumed = 0
        self._in_lockstep = upstream.is_in_lockstep(adapter)
        self._bar = upstream.make_bar(len(requests), shown=shown)

    def answer(self) -> list[Any]:
        """Return the answers to all requests; UnknownHabit where the adapter has to be called as it is."""
        try:
            try:
                return self._answer()
            except upstream.CollatorFound:
                # Nothing has run yet.
                self.has_collator = True
                self.undo()
                return self._answer()
        finally:
            self._bar.close()

    def undo(self) -> None:
        """Put back what this call has left in the process."""
        self._journal.count_resumed(-self._resumed)
        self._resumed = 0
        state, counts = self._began
        random_state.apply(state)
        self._records.cut(counts)
        self._arguments.undo()

    def _answer(self) -> list[Any]:
        unknown = self._find_unknown()
        self._move_bar_to(len(self._requests) - sum(map(len, unknown)))
        self._cumulative = len(self._records.throughput), None
        state = random_state.capture()
        for chunk in self._divide(unknown):
            state = self._ask(chunk, state)
        return self._answers

    def _find_unknown(self) -> list[Batch]:
        """Return the batches that have to be asked for; what is known of the others is given again."""
        try:
            return self._replay(self._plan())
        except Exception as error:
            raise upstream.UnknownHabit(f"{type(error).__name__}: {error}") from error

    # --- batches ---

    def _plan(self) -> list[Batch]:
        count = len(self._requests)
        if self.has_collator and count > 1:
            return upstream.plan_batches(self._original, self._requests)
        size = 1 if self._concurrency > 1 else _read_number(self._adapter, _BATCH_SIZES)
        return [list(range(start, min(start + size, count))) for start in range(0, count, size)]

    @property
    def _concurrency(self) -> int:
        """How many requests the adapter has under way at the same time, beside its batches."""
        workers = getattr(self._adapter, "_workers", None)
        most = getattr(getattr(self._adapter, "adaptive_config", None), "max_concurrency", 1)
        return max(
            _read_number(self._adapter, _CONCURRENCY),
            len(workers) if isinstance(workers, list) else 1,
            most if getattr(self._adapter, "adaptive_concurrency", False) and isinstance(most, int) else 1,
        )

    def _divide(self, batches: list[Batch]) -> Iterator[list[Batch]]:
        """Yield chunks, each about as long as the last ones suggest."""
        size, start = ChunkSize(concurrency=self._concurrency, tapped=self._tapped), 0
        while start < len(batches):
            chunk, begun = batches[start : start + size.count], time.perf_counter()
            yield chunk
            size.record(time.perf_counter() - begun, len(chunk))
            start += len(chunk)

    def _make_ids(self, batches: Sequence[Batch]) -> list[str]:
        return [make_batch_id(self._keys[place] for place in batch) for batch in batches]

    def _move_bar_to(self, count: int) -> None:
        self._bar.initial = self._bar.n = count
        self._bar.update(0)

    # --- what earlier attempts have answered ---

    def _replay(self, batches: list[Batch]) -> list[Batch]:
        """Give the known answers, with all else that their chunks left; return the batches that are not known."""
        known = self._find_known(batches)
        if self._in_lockstep:
            leading = next((number for number, found in enumerate(known) if found is None), len(known))
            leading = upstream.agree_on_least(leading)
            known = [found if number < leading else None for number, found in enumerate(known)]
        chunks = set()
        for batch, found in zip(batches, known, strict=True):
            if found is not None:
                for place, answer in zip(batch, found[0], strict=True):
                    self._answers[place] = answer
                chunks.add(found[1])
        self._restore(sorted(chunks))
        self._restore_arguments(batches, known)
        self._resumed = sum(len(found[0]) for found in known if found)
        self._journal.count_resumed(self._resumed)
        return [batch for batch, found in zip(batches, known, strict=True) if found is None]

    def _find_known(self, batches: list[Batch]) -> list[tuple[list[Any], int, list[JournalAnswer]] | None]:
        known: list[tuple[list[Any], int, list[JournalAnswer]] | None] = []
        for batch, batch_id in zip(batches, self._make_ids(batches), strict=True):
            found = self._journal.find(batch_id, len(batch))
            try:
                answers = found and [unpack_answer(answer, upstream.make_result) for answer in found.answers]
            except Unpackable:
                answers = None
            known.append((answers, found.chunk, found.answers) if found and answers else None)
        return known

    def _restore(self, places: list[int]) -> None:
        """Put back records, and then the last state of the generators."""
        chunks = [self._journal.earlier.chunks[place] for place in places]
        last = {(chunk.attempt, chunk.rank): place for place, chunk in enumerate(chunks) if chunk.throughput}
        state: random_state.RandomState = {}
        for place, chunk in enumerate(chunks):
            if not self._is_cumulative or last.get((chunk.attempt, chunk.rank)) == place:
                self._records.throughput.extend(_unpack_records(chunk.throughput))
            self._records.add_usage(_unpack_records(chunk.usage))
            state |= _decode_state(chunk.random_state)
        random_state.apply(state)

    def _restore_arguments(
        self, batches: list[Batch], known: Sequence[tuple[Any, int, list[JournalAnswer]] | None]
    ) -> None:
        """Put back what the adapter wrote into arguments that later requests share, in the order of the chunks."""
        pairs = [(found[1], batch, found[2]) for batch, found in zip(batches, known, strict=True) if found]
        for _, batch, answers in sorted(pairs, key=lambda pair: pair[0]):
            for place, answer in zip(batch, answers, strict=True):
                self._arguments.rewrite(place, answer.arguments)

    # --- the others ---

    def _ask(self, batches: list[Batch], state: random_state.RandomState) -> random_state.RandomState:
        """Ask for a chunk; return the state of the generators after it."""
        counts = self._records.counts
        try:
            return self._run(batches, state)
        except Exception as error:
            reason = _find_failure(error)
            if reason is not Reason.OUT_OF_MEMORY or self._in_lockstep:
                self._record_failure(batches, reason)
                raise
            text = str(error)
        # Outside of the handler, which keeps the frames of the failed batch and so its memory. The same batches give
        # the same digits; smaller ones would not.
        self._journal.say(f"out of memory; once more with an emptied cache: {' '.join(text.split())[:200]}")
        random_state.apply(state)
        self._records.cut(counts)
        _empty_caches()
        for batch in batches:
            state = self._run_last_time(batch, state)
        return state

    def _run_last_time(self, batch: Batch, state: random_state.RandomState) -> random_state.RandomState:
        try:
            return self._run([batch], state)
        except Exception as error:
            self._record_failure([batch], _find_failure(error))
            raise

    def _record_failure(self, batches: list[Batch], reason: Reason | None) -> None:
        if reason is not None:
            self._journal.write_failure(self._make_ids(batches), reason)

    def _run(self, batches: list[Batch], before: random_state.RandomState) -> random_state.RandomState:
        places = [place for batch in batches for place in batch]
        ids, counts, errors, begun = self._make_ids(batches), self._records.counts, upstream.count_errors(), time.time()
        left = self._arguments.pack_shared(places)
        self._journal.write_next(ids)
        answers = self._call(places, [len(batch) for batch in batches])
        if len(answers) != len(places):
            raise upstream.UnknownHabit(f"the adapter gave {len(answers)} answers to {len(places)} requests")
        for place, answer in zip(places, answers, strict=True):
            self._answers[place] = answer
        after = random_state.capture()
        self._merge_cumulative(counts[0])
        if not self._journal.off:
            failed = upstream.count_errors() > errors
            try:
                line = self._make_line(batches, ids, failed=failed, left=left, begun=begun)
                self._add_what_is_left(line, counts, random_state.find_changes(before, after))
                self._write(line)
            except Unpackable as error:
                self._journal.switch_off(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the answers are there
                self._journal.switch_off(f"{type(error).__name__}: {error}")
            # The targets may come from a task's own code.
            random_state.apply(random_state.find_changes(random_state.capture(), after))
        self._bar.update(len(places))
        return after

    def _call(self, places: list[int], sizes: list[int]) -> list[Any]:
        folder = getattr(self._adapter, "work_dir", None)
        if isinstance(folder, str):
            # Clients of endpoints delete it at the end of every call, and need it in the next.
            os.makedirs(folder, exist_ok=True)
        asked = [self._requests[place] for place in places]
        if asked[0].metadata is not self._requests[0].metadata:
            # Some adapters take the metadata of the first request of a call for all.
            asked[0] = copy.copy(asked[0])
            asked[0].metadata = self._requests[0].metadata
        with upstream.silence(), upstream.fix_batches(sizes if self.has_collator else None):
            return list(self._original(asked))

    # --- what is kept of them ---

    def _make_line(
        self, batches: list[Batch], ids: list[str], *, failed: bool, left: dict[int, Any], begun: float
    ) -> ChunkLine | None:
        """Return the line of a chunk, without what is no answer; None where nothing is left."""
        kept = []
        for batch, batch_id in zip(batches, ids, strict=True):
            if any(_is_failure(self._answers[place], failed) for place in batch):
                continue
            answers = [self._make_answer(place, left) for place in batch]
            if None not in answers:
                kept.append(JournalBatch(id=batch_id, answers=[answer for answer in answers if answer]))
        return ChunkLine(batches=kept, at=read_time(), seconds=round(time.time() - begun, 4)) if kept else None

    def _make_answer(self, place: int, left: dict[int, Any]) -> JournalAnswer | None:
        """Return what is kept of an answer; None where nothing may be. Raises Unpackable."""
        request = self._requests[place]
        fields = pack_answer(self._answers[place])
        prompt, target = find_prompt(request), self._targets.find(request)
        # Before anything is cut: half a secret is one.
        if self._journal.holds_secret("\n".join(map(str, (prompt, target, fields)))):
            return None
        answer = JournalAnswer(task=str(request.task_name), document=_plain_id(request.doc_id), **fields)
        if prompt is not None:
            answer.prompt = cut(prompt)
        if target is not None:
            answer.target = cut(target)
        if changed := self._arguments.find_written(place, left):
            answer.arguments = changed
        return answer

    def _add_what_is_left(
        self, line: ChunkLine | None, counts: tuple[int, int], changes: random_state.RandomState
    ) -> None:
        if line is None:
            return
        if changes:
            line.random_state = random_state.encode(changes)
        if throughput := self._records.throughput[counts[0] if not self._is_cumulative else self._cumulative[0] :]:
            line.throughput = [pack_record(record) for record in throughput]
        if usage := self._records.usage[counts[1] :]:
            line.usage = [pack_record(record) for record in usage]

    def _write(self, line: ChunkLine | None) -> None:
        if line is not None:
            self._journal.write_chunk(line, sum(len(batch.answers) for batch in line.batches))

    @property
    def _is_cumulative(self) -> bool:
        """Whether the adapter's records count from the start of its engine: the last one of a process says all."""
        return hasattr(self._adapter, "get_format_metrics")

    def _merge_cumulative(self, first: int) -> None:
        """Replace the records of such an adapter since the call began by one."""
        records, (start, merged) = self._records.throughput[first:], self._cumulative
        if not self._is_cumulative or not records:
            return
        for record in records:
            seconds = record.get("total_elapsed_time", 0) + (merged or {}).get("total_elapsed_time", 0)
            merged = record | {"total_elapsed_time": seconds}
            merged["avg_speed"] = record.get("total_gen_tokens", 0) / seconds if seconds else 0
        self._records.throughput[start:] = [merged] if merged else []
        self._cumulative = start, merged


def _unpack_records(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        return [unpack_record(record) for record in records]
    except Unpackable:
        return []


def _decode_state(encoded: dict[str, Any] | None) -> random_state.RandomState:
    try:
        return random_state.decode(encoded or {})
    except random_state.InvalidState:
        return {}


def _read_number(adapter: Any, names: Sequence[str]) -> int:
    """Return the first of these attributes that is a positive number; 1 where there is none."""
    for name in names:
        try:
            value = int(getattr(adapter, name))
        except (AttributeError, TypeError, ValueError, NotImplementedError):
            continue
        if value > 0:
            return value
    return 1


def _plain_id(document: Any) -> int | str | None:
    return document if document is None or isinstance(document, int) else str(document)


def _is_failure(answer: Any, failed: bool) -> bool:
    """Return whether an answer is a failure, or may be one: empty after the adapter has logged an error."""
    text = getattr(answer, "text", answer)
    texts = text if isinstance(text, list | tuple) else [text]
    return any(
        isinstance(one, str) and (one.startswith(upstream.FAILED) or (failed and not one.strip())) for one in texts
    )


def _find_failure(error: BaseException) -> Reason | None:
    """Return which failure of the GPU an exception is, or was caused by; None for any other."""
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            return None
        if {"OutOfMemoryError", "MemoryError"} & {kind.__name__ for kind in type(seen).__mro__}:
            return Reason.OUT_OF_MEMORY
        if "not enough memory: you tried to allocate" in str(seen):
            return Reason.OUT_OF_MEMORY
        if "device-side assert" in str(seen):
            return Reason.GPU_ERROR
        seen = seen.__cause__ or seen.__context__
    return None


def _empty_caches() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()
