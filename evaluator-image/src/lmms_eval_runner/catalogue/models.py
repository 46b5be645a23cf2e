"""The models that lmms-eval lists, each with whether this image can import its adapter.

The others cannot be told apart by their packages: adapters of models that nobody has installed import nothing but
lmms-eval and fail when they are used. Those ask `lmms_eval.imports.optional_import` for what they lack, which is
listened to.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from lmms_eval_core.catalogue import KnownModel

from .remote_code_scan import is_remote_code_needed
from .trial import TrialDeath, TrialError, run_trial

SECONDS_EACH: Final = 60.0
SECONDS_ALL: Final = 900.0
_MAX_SENTENCE: Final = 300
_LMMS_EVAL: Final = "lmms_eval"


def list_known_models(*, clock: Callable[[], float] = time.monotonic) -> list[KnownModel]:
    """Return the models that lmms-eval's own server lists. What has no time left is listed untried."""
    from lmms_eval.models import get_model_manifest, list_available_models

    deadline, found = clock() + SECONDS_ALL, []
    for name in list_available_models():
        seconds = min(SECONDS_EACH, deadline - clock())
        tried = run_trial(partial(_import, name), seconds=seconds) if seconds > 0 else []
        manifest = get_model_manifest(name)
        known = KnownModel(
            name=name,
            aliases=sorted(manifest.aliases),
            unavailable=explain_unavailable(tried),
            needs_remote_code=is_remote_code_needed(manifest.chat_class_path or manifest.simple_class_path or ""),
        )
        found.append(known)
    return found


def _import(name: str) -> list[str]:
    """Import the adapter as an evaluation does; return the packages that it asked for in vain.

    Runs in a process of its own.
    """
    import lmms_eval.imports
    from lmms_eval.models import get_model

    lacking: list[str] = []
    optional_import = lmms_eval.imports.optional_import

    def listening(module_name: str, *args: Any, **kwargs: Any) -> tuple[Any, bool]:
        result: tuple[Any, bool] = optional_import(module_name, *args, **kwargs)
        if not result[1]:
            lacking.append(module_name.partition(".")[0])
        return result

    lmms_eval.imports.optional_import = listening
    get_model(name)
    return lacking


def explain_unavailable(tried: list[str] | TrialError | TrialDeath) -> str | None:
    """Return why the model cannot be used in this image; None where nothing is known against it."""
    match tried:
        case TrialDeath():
            return f"Its import {tried.how}."
        case TrialError():
            return _explain_error(tried)
        case []:
            return None
    return f"It asks for packages that this image lacks: {', '.join(sorted(set(tried)))}."


def _explain_error(raised: TrialError) -> str:
    package = (raised.module or "").partition(".")[0]
    if raised.error == ModuleNotFoundError.__name__ and package == _LMMS_EVAL:
        return f"lmms-eval lists it, but has no module {raised.module}."
    if raised.error == ModuleNotFoundError.__name__ and package:
        return f"This image lacks the package {package}."
    text = " ".join(raised.text.split())
    return f"Its import fails: {raised.error}: {text}"[:_MAX_SENTENCE]
