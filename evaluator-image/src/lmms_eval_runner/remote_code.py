"""Keeps libraries from running code that comes with a model, unless `spec.trustRemoteCode` permits it.

Adapters pass `trust_remote_code=True` by themselves, so that the argument decides nothing. A `.pth` file of the image
has every Python process of the container, workers of engines too, call `guard`: it waits for the libraries that load
such code, and replaces the functions by which they do. A guard against checkpoints and no boundary: code that runs can
undo it.

Every start of Python pays for what is imported here, so that this is little.
"""

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Named = Callable[..., str]

# Set by the runner, for the harness and all that it starts. The name is one that spec.env must not have.
ENV_TRUSTED = "LMMS_EVAL_RUN_TRUST_REMOTE_CODE"
# Between an adapter and what it asks for.
_LIBRARIES = ("diffusers", "functools", "importlib", "kernels", "lmms_eval_runner", "transformers")
_OWN_GENERATE = "custom_generate/generate.py"
_MAX_NAME = 300


class RemoteCodeRefused(Exception):
    """The message says who wanted to run which code.

    `failure_rules` knows the class by its name and adds how to permit it.
    """


def guard() -> None:
    """Make this process refuse such code from now on, unless it is trusted. Further calls change nothing."""
    if os.environ.get(ENV_TRUSTED) != "1" and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _name_file(repository: object = "", module_file: object = "", *args: object, **kwargs: object) -> str:
    """transformers looks for a `generate` of its own in every model; where there is one, it asks for it as a class."""
    return "" if module_file == _OWN_GENERATE else f"{module_file} of {repository}"


def _name_class(name: object, module: object, *args: object, **kwargs: object) -> str:
    return f"{name} of {module}"


def _name_kernel(repository: object = "", *args: object, **kwargs: object) -> str:
    return f"the kernel {repository or kwargs.get('repo_id') or kwargs.get('kernel')}"


def _name_attention_kernel(implementation: object = "", *args: object, **kwargs: object) -> str:
    """Return the kernel that is asked for: transformers tells kernels from its own implementations by the slash."""
    return f"the kernel {implementation}" if "/" in str(implementation or "") else ""


# By module, what loads code of a repository or a checkpoint: the lowest functions, which are looked up when they are
# called, or imported from there by modules that come later. They say what they were asked for; nothing where it is no
# code.
_REFUSED: "Mapping[str, Mapping[str, Named]]" = {
    "transformers.dynamic_module_utils": {"get_cached_module_file": _name_file, "get_class_in_module": _name_class},
    "transformers.integrations.hub_kernels": {
        "load_and_register_kernel": _name_attention_kernel,
        "load_and_register_attn_kernel": _name_attention_kernel,
    },
    "diffusers.utils.dynamic_modules_utils": {"get_cached_module_file": _name_file, "get_class_in_module": _name_class},
    "kernels.utils": {
        "get_kernel": _name_kernel,
        "get_locked_kernel": _name_kernel,
        "load_kernel": _name_kernel,
        "install_kernel": _name_kernel,
    },
    "kernels.load": {"get_kernel_with_resolver": _name_kernel},
}
# Engines ask for it in their own arguments, with True as the adapters' default, and have classes of their own for most
# models that bring code: with False they take those.
_ENGINE_ARGUMENTS = {"vllm.engine.arg_utils": "EngineArgs", "sglang.srt.server_args": "ServerArgs"}


class _Finder:
    """Finds the modules named above where they are, and changes them once they are executed."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in _REFUSED and name not in _ENGINE_ARGUMENTS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_change(module: "ModuleType") -> None:
                execute(module)
                _change(module)

            spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


def _change(module: "ModuleType") -> None:
    for function, named in _REFUSED.get(module.__name__, {}).items():
        if hasattr(module, function):
            setattr(module, function, _make_refusing(getattr(module, function), named))
    if arguments := getattr(module, _ENGINE_ARGUMENTS.get(module.__name__, ""), None):
        arguments.__post_init__ = _make_untrusting(getattr(arguments, "__post_init__", lambda self: None))


def _make_refusing(function: "Callable[..., Any]", named: "Named") -> "Callable[..., Any]":
    import functools

    @functools.wraps(function)
    def refuse(*args: "Any", **kwargs: "Any") -> "Any":
        if code := named(*args, **kwargs):
            raise RemoteCodeRefused(f"{_find_caller()} wanted to run {code[:_MAX_NAME]}")
        return function(*args, **kwargs)

    return refuse


def _make_untrusting(post_init: "Callable[..., Any]") -> "Callable[..., Any]":
    def untrust(self: "Any", *args: "Any", **kwargs: "Any") -> "Any":
        self.trust_remote_code = False
        return post_init(self, *args, **kwargs)

    return untrust


def _find_caller() -> str:
    """Return the adapter among the callers; without one, the first module that is none of the libraries."""
    frame, first = sys._getframe(2), ""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("lmms_eval.models."):
            return name
        if not first and name.partition(".")[0] not in _LIBRARIES:
            first = name
        frame = frame.f_back  # type: ignore[assignment]
    return first or "the run"
