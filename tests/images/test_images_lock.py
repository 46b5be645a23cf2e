"""What a service's lock file is made from."""

from typing import Any

from lmms_eval_images.lock import service_requirements

CORE = {
    "project": {
        "dependencies": ["pydantic>=2"],
        "optional-dependencies": {"kube": ["kubernetes"], "store": ["obstore"], "schema": ["pyyaml"]},
    }
}


def member(*dependencies: str) -> dict[str, Any]:
    return {"project": {"dependencies": list(dependencies)}}


def test_core_is_replaced_by_what_it_needs_for_the_named_extras() -> None:
    asked = member("lmms-eval-core[kube, store]==0.1.0", "zstandard>=0.25")
    assert service_requirements(asked, CORE) == ["kubernetes", "obstore", "pydantic>=2", "zstandard>=0.25"]


def test_core_without_extras_brings_its_own_needs() -> None:
    assert service_requirements(member("lmms-eval-core==0.1.0"), CORE) == ["pydantic>=2"]
