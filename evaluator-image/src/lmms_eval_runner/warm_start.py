"""`python -m lmms_eval_runner.warm_start ARGUMENTS`: lmms-eval itself, unmodified, with less to do before it begins.

What is put off here is done when somebody asks for it, and what is done faster gives the same: lmms-eval computes what
it always does. A mechanism that does not fit what is installed steps aside, with a line in the log.
`LMMS_EVAL_WARM_START=0` leaves all of them out.
"""

import atexit
import functools
import gc
import importlib
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final, NamedTuple

from lmms_eval_core.log_marks import PREFIX
from lmms_eval_core.names import ENV_WARM_START

from .remote_code import guard


def main() -> None:
    """Run lmms-eval, and end as it ends."""
    # The image has every process do so; this one does it in any image.
    guard()
    if os.environ.get(ENV_WARM_START) != "0":
        apply_shortcuts(parse_yaml_in_c, import_late, import_without_collecting_garbage)
    runpy.run_module("lmms_eval", run_name="__main__", alter_sys=True)


def apply_shortcuts(*shortcuts: Callable[[], None]) -> None:
    """Apply those that fit what is installed; of any other a line in the log tells."""
    for shortcut in shortcuts:
        try:
            shortcut()
        except Exception as error:  # noqa: BLE001 - lmms-eval is about to meet it as well, and reports it as it always does
            print(f"{PREFIX}no {shortcut.__name__}: {error!r}", file=sys.stderr, flush=True)


def parse_yaml_in_c() -> None:
    """Has `yaml.full_load` use libyaml: a quarter of the time for the two thousand files that lmms-eval reads of its
    tasks.
    """
    import yaml

    def of_full_loader(table: str) -> property:
        return property(lambda loader: getattr(yaml.FullLoader, table))

    class Loader(yaml.CFullLoader):
        """libyaml's parser.

        Tags and types are those of the loader in Python, to which lmms-eval adds its own all the time.
        """

        yaml_constructors = of_full_loader("yaml_constructors")
        yaml_multi_constructors = of_full_loader("yaml_multi_constructors")
        yaml_implicit_resolvers = of_full_loader("yaml_implicit_resolvers")
        yaml_path_resolvers = of_full_loader("yaml_path_resolvers")

        def __init__(self, stream: Any) -> None:
            # Where lmms-eval's tag for functions looks for their file; libyaml's parser does not keep it.
            self.name = getattr(stream, "name", "<file>")
            super().__init__(stream)

    def full_load(stream: Any) -> Any:
        start = stream.tell() if hasattr(stream, "tell") else None
        try:
            return yaml.load(stream, Loader)
        except yaml.YAMLError:
            if start is not None:
                stream.seek(start)
        # The messages of the parser in Python tell more, or it reads what libyaml does not.
        return yaml.load(stream, yaml.FullLoader)

    yaml.full_load = full_load


def import_without_collecting_garbage() -> None:
    """Switches garbage collection off until the adapter is imported: all that is made meanwhile stays."""
    gc.disable()
    try:
        from lmms_eval import models

        get_model = models.get_model
    except BaseException:
        gc.enable()
        raise

    @functools.wraps(get_model)
    def get_model_and_collect_garbage(*args: Any, **kwargs: Any) -> Any:
        try:
            return get_model(*args, **kwargs)
        finally:
            # What is there by now is not looked through again and again, and is taken down in the end as ever.
            gc.freeze()
            atexit.register(gc.unfreeze)
            gc.enable()

    models.get_model = get_model_and_collect_garbage


class LateImport(NamedTuple):
    """What a module imports though hardly any evaluation uses it: a module, or `functions` of it."""

    module: str
    functions: tuple[str, ...] = ()


# By the module that imports it. What stays away: most of scipy and sklearn, transformers' pipelines, and for an adapter
# that uses no transformers sympy and torch's compiler.
LATE: Final = {
    "lmms_eval.api.registry": LateImport("evaluate"),
    "transformers.generation.candidate_generator": LateImport("sklearn.metrics", ("roc_curve",)),
    "transformers.loss.loss_deformable_detr": LateImport("scipy.optimize", ("linear_sum_assignment",)),
    "transformers.loss.loss_for_object_detection": LateImport("scipy.optimize", ("linear_sum_assignment",)),
    "transformers.loss.loss_grounding_dino": LateImport("scipy.optimize", ("linear_sum_assignment",)),
    "transformers.loss.loss_rt_detr": LateImport("scipy.optimize", ("linear_sum_assignment",)),
    "transformers.model_debugging_utils": LateImport("torch.distributed.tensor"),
}


def import_late() -> None:
    """Has the modules named above import what they name when it is used."""
    sys.meta_path.insert(0, _LateFinder())


class _LateFinder(MetaPathFinder):
    """Finds those modules where they are, and has a placeholder stand in for what they import while
    they are executed.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        late = LATE.get(name)
        spec = PathFinder.find_spec(name, path, target) if late else None
        if late and spec and spec.loader:
            # In this one loader, which stays what it is for whoever asks the module for its source.
            spec.loader.exec_module = functools.partial(_execute_with_placeholder, spec.loader.exec_module, late)  # type: ignore[method-assign]
        return spec


def _execute_with_placeholder(execute: Callable[[ModuleType], None], late: LateImport, module: ModuleType) -> None:
    if late.module in sys.modules:
        return execute(module)
    placeholder = Placeholder(late)
    try:
        return execute(module)
    except Exception as error:  # noqa: BLE001 - another version may use it in another way; what fails again is lmms-eval's own
        print(f"{PREFIX}{module.__name__} needs {late.module} at once: {error!r}", file=sys.stderr, flush=True)
    finally:
        placeholder.leave()
    return execute(module)


class Placeholder(ModuleType):
    """Stands where the import system finds a module. What is asked of it is asked of the real one, imported by then."""

    def __init__(self, late: LateImport) -> None:
        super().__init__(late.module)
        for function in late.functions:
            setattr(self, function, _make_late_function(late.module, function))
        sys.modules[late.module] = self
        parent, _, child = late.module.rpartition(".")
        if parent in sys.modules:
            # As an import would; that of the real one sets it again.
            setattr(sys.modules[parent], child, self)

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__path__":
            raise AttributeError(attribute)
        self.leave()
        return getattr(importlib.import_module(self.__name__), attribute)

    def leave(self) -> None:
        """From now on the import system finds the real one."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


def _make_late_function(module: str, function: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*args, **kwargs)

    call.__name__ = call.__qualname__ = function
    call.__module__ = module
    return call


if __name__ == "__main__":
    main()
