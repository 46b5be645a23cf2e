"""The entry point `lmms_eval.models`, by which lmms-eval loads us into its own unmodified process.

Does nothing outside a run. In a run it hands the adapter the exact model arguments of `run.json`, lets a `Meter` see
every progress bar, lets the adapter's requests pass through the `journal`, and has what it gets kept by `media`.
"""

import functools
import inspect
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmms_eval_core.names import ENV_RUN_DIRECTORY
from lmms_eval_core.run import MAX_JSON_BYTES, RUN_FILE, RunInput
from lmms_eval_core.schema import Scalar
from lmms_eval_core.spec import REMOTE_CODE_ARG

from .arguments import format_model_args
from .journal.attach import attach_journal, prepare_journal
from .media.attach import attach_media
from .meter import Meter


def install() -> list[object]:
    """Install the hand-over, the journal and the watch of progress bars; called once by lmms-eval.

    Return the adapters to register: none.
    """
    directory = os.environ.get(ENV_RUN_DIRECTORY)
    run = _read_run(Path(directory)) if directory else None
    if directory and run:
        meter = Meter(Path(directory), time.time, ranks=run.processes) if _is_first_process() else None
        _hand_over_model_args(run, Path(directory), meter, journaled=prepare_journal(run, meter))
        if meter:
            _watch_bars(meter)
    return []


def _read_run(directory: Path) -> RunInput | None:
    try:
        with (directory / RUN_FILE).open("rb") as file:
            return RunInput.model_validate_json(file.read(MAX_JSON_BYTES))
    except (OSError, ValueError):
        return None


def _is_first_process() -> bool:
    """Return whether this is rank 0, and not a worker that an engine has spawned from it."""
    return os.environ.get("RANK", "0") == "0" and multiprocessing.parent_process() is None


def _hand_over_model_args(run: RunInput, directory: Path, meter: Meter | None, *, journaled: bool) -> None:
    """Give the adapter the exact values, where lmms-eval would parse their text; and a journal in any case."""
    from lmms_eval.api.model import lmms

    model_args = run.harness.model_args
    text, original = format_model_args(model_args), lmms.create_from_arg_string.__func__

    @functools.wraps(original)
    def create(cls: Any, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> Any:
        if arg_string == text:
            adapter = _make_adapter(cls, run, additional_config or {}, meter)
        else:
            adapter = original(cls, arg_string, additional_config)
        attach_media(adapter, run, directory, environ=os.environ)
        if journaled:
            attach_journal(adapter, run, directory, meter=meter, environ=os.environ)
        return adapter

    lmms.create_from_arg_string = classmethod(create)


def _make_adapter(cls: Any, run: RunInput, config: Mapping[str, Any], meter: Meter | None) -> Any:
    if meter:
        meter.record_loading(exact_model_args=True)
    options = {name: value for name, value in config.items() if value is not None}
    adapter = cls(**_select_model_args(cls, run), **options)
    if meter:
        meter.record_loaded()
    return adapter


def _select_model_args(adapter: type, run: RunInput) -> dict[str, Scalar]:
    """Return the model arguments, without the permission to run the model's code if the adapter knows
    no such argument.
    """
    drop = run.trust_remote_code and not has_argument(adapter, REMOTE_CODE_ARG)
    return {name: value for name, value in run.harness.model_args.items() if not (drop and name == REMOTE_CODE_ARG)}


def has_argument(adapter: type, argument: str) -> bool:
    """Return whether a constructor names the argument: the adapter's own, or one that its own hands
    everything on to.
    """
    for cls in adapter.__mro__:
        if "__init__" in vars(cls):
            parameters = inspect.signature(vars(cls)["__init__"]).parameters
            if argument in parameters:
                return True
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
                return False
    return False


def _watch_bars(meter: Meter) -> None:
    """Have `meter` read the bars of tqdm, and those which lmms-eval shows instead where there is no terminal."""
    from lmms_eval.models.model_utils.progress import SlurmProgress
    from tqdm.std import tqdm

    for bars in (tqdm, SlurmProgress):
        bars.__init__ = _call_after(bars.__init__, meter.read_bar)
        bars.update = _call_after(bars.update, meter.read_bar)
        bars.close = _call_before(bars.close, meter.read_closing_bar)


def _call_after(method: Any, read: Callable[[Any], None]) -> Any:
    """Return the method of a bar, followed by a call of `read`."""

    @functools.wraps(method)
    def follow(bar: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(bar, *args, **kwargs)
        read(bar)
        return result

    return follow


def _call_before(method: Any, read: Callable[[Any], None]) -> Any:
    """Return the method of a bar, preceded by a call of `read`: `close` empties a bar of tqdm."""

    @functools.wraps(method)
    def precede(bar: Any, *args: Any, **kwargs: Any) -> Any:
        read(bar)
        return method(bar, *args, **kwargs)

    return precede
