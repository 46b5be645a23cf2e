"""Folders of the evaluator container: which ones evaluations share, and from which no code may come.

The operator mounts them, admission and the runner refuse by them.
"""

import re
from typing import Final

# Models and data sets, shared by the evaluations of a release where it has a cache volume.
CACHE_DIRECTORY: Final = "/cache"
# The pod's own, and gone with it.
TEMPORARY_DIRECTORY: Final = "/tmp"
PRIVATE_CACHE: Final = f"{TEMPORARY_DIRECTORY}/.cache"

# Folders that runs write to, or through which they can be reached: /var/run is a link to /run.
_WRITTEN_BY_RUNS: Final = "cache|dev|proc|run|sys|tmp|var/run"
WRITTEN_BY_RUNS: Final = rf"^/({_WRITTEN_BY_RUNS})(/|$)"
RESERVED_MOUNTS: Final = rf"^/({_WRITTEN_BY_RUNS}|bin|boot|etc|lib|lib32|lib64|opt|root|sbin|usr)(/|$)"
DOT_SEGMENT: Final = r"/[.][.]?(/|$)"

# Where libraries keep code, compiled or not, settings that they obey, and tokens: variable and folder below
# PRIVATE_CACHE. Some would be below HF_HOME otherwise, on the cache volume, where a later evaluation would run what an
# earlier one has left.
PRIVATE_CACHES: Final = {
    "XDG_CACHE_HOME": "",
    "HF_MODULES_CACHE": "huggingface/modules",
    "HF_EVALUATE_CACHE": "huggingface/evaluate",
    "HF_METRICS_CACHE": "huggingface/metrics",
    "HF_TOKEN_PATH": "huggingface/token",
    "HF_STORED_TOKENS_PATH": "huggingface/stored_tokens",
    "TORCH_HOME": "torch",
    "TORCH_EXTENSIONS_DIR": "torch_extensions",
    "PYTORCH_KERNEL_CACHE_PATH": "torch_kernels",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_HOME": "triton",
    "TRITON_CACHE_DIR": "triton/cache",
    "VLLM_CACHE_ROOT": "vllm",
    "SGLANG_CACHE_DIR": "sglang",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "DG_JIT_CACHE_DIR": "deep_gemm",
    "TILELANG_CACHE_DIR": "tilelang",
    "CUDA_CACHE_PATH": "cuda",
    "CUPY_CACHE_DIR": "cupy",
    "NUMBA_CACHE_DIR": "numba",
    "MPLCONFIGDIR": "matplotlib",
}

NO_DOT_SEGMENT: Final = "must not contain '.' or '..' as a part"
NO_CODE_FROM_RUNS: Final = (
    "is inside a directory that evaluations write to, or processes can be reached by;"
    " put the tasks into a volume of spec.volumes, or into the image"
)


def list_private_caches() -> dict[str, str]:
    """Return each variable of `PRIVATE_CACHES` with its path."""
    return {name: f"{PRIVATE_CACHE}/{folder}".rstrip("/") for name, folder in PRIVATE_CACHES.items()}


def find_include_path_problem(path: str) -> str | None:
    """Return why lmms-eval must not load tasks, which are code, from `path`; None where it may."""
    if re.search(DOT_SEGMENT, path):
        return NO_DOT_SEGMENT
    return NO_CODE_FROM_RUNS if re.search(WRITTEN_BY_RUNS, path) else None
