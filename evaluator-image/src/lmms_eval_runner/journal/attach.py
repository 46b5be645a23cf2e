"""Wraps the request methods of an adapter when it is made, so that they pass through the journal."""

import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lmms_eval_core.log_marks import PREFIX
from lmms_eval_core.run import ResumePolicy, RunInput
from lmms_eval_runner.redaction import find_secrets

from . import upstream
from .adapter_call import AdapterCall
from .completions import CompletionTap
from .fingerprint import compute_parts, is_exact
from .identity import RequestKeys, Unkeyable
from .run_journal import ProgressMeter, RunIdentity, RunJournal, describe_error
from .shown_texts import Targets

METHODS: Final = ("generate_until", "loglikelihood", "generate_until_multi_round", "generate_visual_cot")


def prepare_journal(run: RunInput, meter: ProgressMeter | None) -> bool:
    """Prepare lmms-eval, before any adapter is imported; return whether there can be a journal."""
    if run.resume is ResumePolicy.NEVER:
        return False
    try:
        upstream.install()
    except Exception as error:  # noqa: BLE001 - another version of lmms-eval; the run does without a journal
        _refuse(error, meter)
        return False
    return True


def attach_journal(
    adapter: Any, run: RunInput, directory: Path, *, meter: ProgressMeter | None, environ: Mapping[str, str]
) -> None:
    """Let the requests of `adapter` pass through the journal; `meter` is there on the first rank."""
    try:
        JournaledAdapter(adapter, run, directory, meter=meter, environ=environ).attach()
    except Exception as error:  # noqa: BLE001 - as above
        _refuse(error, meter)


def _refuse(error: Exception, meter: ProgressMeter | None) -> None:
    why = describe_error(error)
    print(f"{PREFIX}no journal: {why}", file=sys.stderr, flush=True)
    if meter:
        meter.record_journal_off(why)


class JournaledAdapter:
    """An adapter and the journal of its process."""

    def __init__(
        self,
        adapter: Any,
        run: RunInput,
        directory: Path,
        *,
        meter: ProgressMeter | None,
        environ: Mapping[str, str],
    ) -> None:
        self._adapter, self._run = adapter, run
        self._rank = int(environ.get("RANK", "0"))
        self._keys = RequestKeys()
        self._records = upstream.Records()
        self._targets = Targets(upstream.list_tasks())
        self._has_call = False
        self._tapped = False
        # The methods that make their batches by a Collator, as far as they have been called.
        self._collating: set[str] = set()
        self.journal = RunJournal(
            run,
            directory,
            rank=self._rank,
            ranks=int(environ.get("WORLD_SIZE", "1")),
            secrets=find_secrets(environ, run.secret_env),
            meter=meter,
            identify=self._identify,
        )
        self._pid = os.getpid()

    def attach(self) -> None:
        """Wrap the methods on the instance: its class stays as it is."""
        upstream.watch()
        tapped = CompletionTap(self.journal, self._run.attempt, self._rank).attach(self._adapter)
        # With tools a request names the files of its pictures, which the next process has elsewhere: such a
        # conversation is lost unless its chunk is whole.
        self._tapped = tapped and getattr(self._adapter, "mcp_client", None) is None
        for name in METHODS:
            if callable(getattr(self._adapter, name, None)):
                setattr(self._adapter, name, self._wrap(name, self._find_method(name)))

    def _find_method(self, name: str) -> Any:
        """Return the adapter's own method; one of its class is looked up at each call, as a task may replace it."""
        method = getattr(self._adapter, name)
        if name in getattr(self._adapter, "__dict__", {}):
            return method

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(type(self._adapter), name).__get__(self._adapter)(*args, **kwargs)

        return call

    def _identify(self) -> RunIdentity:
        parts = compute_parts(self._run, self._adapter, upstream.list_tasks(), package=upstream.find_package())
        return RunIdentity(parts, is_exact(self._adapter))

    def _wrap(self, name: str, original: Any) -> Any:
        @functools.wraps(original)
        def call(requests: Any, *args: Any, **kwargs: Any) -> Any:
            # A method that answers by calling another one is one call, and so is all that happens within it.
            if self._has_call or args or kwargs or not isinstance(requests, list) or not requests:
                return original(requests, *args, **kwargs)
            self._has_call = True
            try:
                return self._answer(name, original, requests)
            finally:
                self._has_call = False

        return call

    def _answer(self, name: str, original: Any, requests: list[Any]) -> Any:
        self.journal.open()
        keys: list[str] = []
        try:
            keys = self._keys.make(name, requests) if not self.journal.off else []
        except Unkeyable as error:
            self.journal.switch_off(str(error))
        if self.journal.off or os.getpid() != self._pid:
            if upstream.is_in_lockstep(self._adapter):
                # The other ranks wait for what this one knows.
                upstream.agree_on_least(0)
            return original(requests)
        call = AdapterCall(
            self.journal,
            self._adapter,
            original,
            requests,
            keys,
            records=self._records,
            targets=self._targets,
            has_collator=name in self._collating,
            shown=self._rank == 0,
            tapped=self._tapped,
        )
        try:
            return call.answer()
        except upstream.UnknownHabit as habit:
            self.journal.switch_off(str(habit))
        finally:
            if call.has_collator:
                self._collating.add(name)
        call.undo()
        self.journal.restart_bar()
        return original(requests)
