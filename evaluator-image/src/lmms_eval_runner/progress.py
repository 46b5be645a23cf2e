"""The entry point `lmms_eval.models`, by which lmms-eval loads us into its own unmodified process.

Does nothing outside a run. In a run it hands the adapter the exact model arguments of `run.json` and lets a `Meter`
see every progress bar. Beside `catalogue`, the only file of the runner that imports upstream packages.
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

from .arguments import model_args_text
from .meter import Meter


def install() -> list[object]:
    """Called once by lmms-eval while it imports its models; returns the adapters to register: none."""
    directory = os.environ.get(ENV_RUN_DIRECTORY)
    run = _read_run(Path(directory)) if directory else None
    if directory and run:
        meter = Meter(Path(directory), time.time, ranks=run.processes) if _is_first_process() else None
        _hand_over(run, meter)
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
    """Whether this is rank 0, and not a worker that an engine has spawned from it."""
    return os.environ.get("RANK", "0") == "0" and multiprocessing.parent_process() is None


def _hand_over(run: RunInput, meter: Meter | None) -> None:
    """Gives the adapter the very values, where lmms-eval would parse their text."""
    from lmms_eval.api.model import lmms

    model_args = run.harness.model_args
    text, original = model_args_text(model_args), lmms.create_from_arg_string.__func__

    @functools.wraps(original)
    def create(cls: Any, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> Any:
        if arg_string != text:
            return original(cls, arg_string, additional_config)
        if meter:
            meter.loading(exact_model_args=True)
        options = {name: value for name, value in (additional_config or {}).items() if value is not None}
        adapter = cls(**_fitting(cls, run), **options)
        if meter:
            meter.loaded()
        return adapter

    lmms.create_from_arg_string = classmethod(create)


def _fitting(adapter: type, run: RunInput) -> dict[str, Scalar]:
    """The model arguments, less the permission to run the model's code for an adapter that knows no such argument."""
    drop = run.trust_remote_code and not takes(adapter, REMOTE_CODE_ARG)
    return {name: value for name, value in run.harness.model_args.items() if not (drop and name == REMOTE_CODE_ARG)}


def takes(adapter: type, argument: str) -> bool:
    """Whether a constructor names the argument: the adapter's own, or one that its own hands everything on to."""
    for cls in adapter.__mro__:
        if "__init__" in vars(cls):
            parameters = inspect.signature(vars(cls)["__init__"]).parameters
            if argument in parameters:
                return True
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
                return False
    return False


def _watch_bars(meter: Meter) -> None:
    """Lets `meter` see the bars of tqdm, and those which lmms-eval shows instead where there is no terminal."""
    from lmms_eval.models.model_utils.progress import SlurmProgress
    from tqdm.std import tqdm

    for bars in (tqdm, SlurmProgress):
        bars.__init__ = _followed(bars.__init__, meter.moved)
        bars.update = _followed(bars.update, meter.moved)
        bars.close = _preceded(bars.close, meter.closing)


def _followed(method: Any, see: Callable[[Any], None]) -> Any:
    @functools.wraps(method)
    def follow(bar: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(bar, *args, **kwargs)
        see(bar)
        return result

    return follow


def _preceded(method: Any, see: Callable[[Any], None]) -> Any:
    """For `close`, which empties a bar of tqdm."""

    @functools.wraps(method)
    def precede(bar: Any, *args: Any, **kwargs: Any) -> Any:
        see(bar)
        return method(bar, *args, **kwargs)

    return precede
