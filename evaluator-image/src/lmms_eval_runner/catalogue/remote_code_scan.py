"""Finds in the source of an adapter, without importing it, whether it asks for the code of its checkpoint by itself.

Such code runs only where an evaluation may (`lmms_eval_runner.remote_code`), so that callers want to know in advance.
"""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lmms_eval_core.spec import REMOTE_CODE_ARG

_ADAPTERS: Final = ("lmms_eval.models.simple.", "lmms_eval.models.chat.")
# `remote_code` takes it out of their arguments, and they have classes of their own for most models.
_ENGINES: Final = ("vllm", "sglang")


def is_remote_code_needed(class_path: str) -> bool:
    """Return whether the adapter at `package.module.Class`, or one that it is derived from, asks for remote code."""
    return any(is_remote_code_requested(source) for source in _read_sources(class_path.rpartition(".")[0], set()))


def is_remote_code_requested(source: str) -> bool:
    """Return whether a module passes `trust_remote_code=True`, or has it as the default of a constructor that hands it
    on.
    """
    nodes = list(ast.walk(ast.parse(source)))
    if any(_is_passed(node) for node in nodes):
        return True
    return not any(_has_engine(node) for node in nodes) and any(_is_default(node) for node in nodes)


def _read_sources(module: str, seen: set[str]) -> Iterator[str]:
    """Yield the source of the module and of other adapters that it imports."""
    path = _find_file(module)
    if module in seen or path is None:
        return
    seen.add(module)
    source = path.read_text(encoding="utf-8")
    yield source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_ADAPTERS):
            yield from _read_sources(str(node.module), seen)


def _find_file(module: str) -> Path | None:
    """Return the file of a module; None for one that lmms-eval names and does not have."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _is_passed(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == REMOTE_CODE_ARG and _is_true(node.value)
    if isinstance(node, ast.Dict):
        return any(
            isinstance(key, ast.Constant) and key.value == REMOTE_CODE_ARG and _is_true(value)
            for key, value in zip(node.keys, node.values, strict=True)
        )
    return False


def _is_default(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef) or node.name != "__init__":
        return False
    positional = [*node.args.posonlyargs, *node.args.args]
    pairs = [*zip(reversed(positional), reversed(node.args.defaults), strict=False)]
    pairs += [
        (argument, value) for argument, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value
    ]
    return any(argument.arg == REMOTE_CODE_ARG and _is_true(value) for argument, value in pairs)


def _has_engine(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(_is_engine(name.name) for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return _is_engine(node.module or "")
    # lmms-eval imports what may be missing by its own `optional_import`.
    return isinstance(node, ast.Call) and any(
        isinstance(word, ast.Constant) and _is_engine(word.value) for word in node.args[:1]
    )


def _is_engine(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _ENGINES


def _is_true(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is True
