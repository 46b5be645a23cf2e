"""Tells the weights of a model by what is loaded, not by where it came from: paths and dates differ between pods.

Of a model in this process, some values of every tensor count, and on GPUs, where that is quick, all bits. Of an engine,
which has it elsewhere, the files of the checkpoint. Of an endpoint only its address and the model's name are known.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

VALUES_PER_TENSOR: Final = 64
_SAMPLE_BYTES: Final = 64 * 1024
_SAMPLES: Final = 16
_ENDPOINT: Final = ("base_url", "model_version", "api_base")
_CHECKPOINT: Final = ("*.safetensors", "*.bin", "*.pt", "*.gguf", "config.json")


def describe_weights(adapter: Any, model: str) -> dict[str, Any]:
    """Return what tells the weights of `adapter`; `model` is the folder or the hub's name in the model arguments."""
    if modules := find_modules(adapter):
        return {name: _hash_module(module) for name, module in modules.items()}
    if files := _hash_checkpoint(model):
        return {"files": files}
    address = {name: _hash(str(value)) for name in _ENDPOINT if (value := getattr(adapter, name, None))}
    return {"unknown": address}


def find_modules(adapter: Any) -> dict[str, Any]:
    """Return the modules of torch that an adapter holds, by attribute."""
    import torch

    return {name: value for name, value in sorted(vars(adapter).items()) if isinstance(value, torch.nn.Module)}


def _hash_module(module: Any) -> list[Any]:
    """Return the number of values, the number of tensors that are not loaded, and a hash."""
    import torch

    names, sums, missing, count = [], [], 0, 0
    samples: dict[str, list[Any]] = {}
    for name, tensor in sorted((*module.named_parameters(), *module.named_buffers()), key=lambda pair: pair[0]):
        count += tensor.numel()
        if tensor.device.type == "meta" or not tensor.numel():
            missing += 1
            continue
        names.append(f"{name} {tuple(tensor.shape)} {tensor.dtype}")
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // VALUES_PER_TENSOR)
        sample = flat[::step][: VALUES_PER_TENSOR + 1].contiguous().view(torch.uint8)
        samples.setdefault(str(tensor.device), []).append(sample)
        if tensor.is_cuda:
            sums.append(_sum_bits(flat))
    digest = hashlib.sha256("\n".join(names).encode())
    for device in sorted(samples):
        digest.update(torch.cat(samples[device]).cpu().numpy().tobytes())
    digest.update(repr([int(one) for one in sums]).encode())
    return [count, missing, digest.hexdigest()[:20]]


def _sum_bits(flat: Any) -> Any:
    import torch

    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(flat.element_size(), torch.uint8)
    return flat.contiguous().view(whole).sum(dtype=torch.int64)


def _hash_checkpoint(model: str) -> Mapping[str, str]:
    folder = _find_checkpoint(model)
    if folder is None:
        return {}
    files = sorted({path for pattern in _CHECKPOINT for path in folder.glob(pattern)})
    return {path.name: _hash_file(path) for path in files}


def _find_checkpoint(model: str) -> Path | None:
    """Return the folder of the files: the one that is named, or the hub's in the cache."""
    if not model:
        return None
    if Path(model).is_dir():
        return Path(model)
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(model, "config.json")
    except Exception:  # noqa: BLE001 - no name of the hub, or no such library
        return None
    return Path(found).parent if isinstance(found, str) else None


def _hash_file(path: Path) -> str:
    """Return a hash of size, beginning, and samples from all over the file."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in sorted({size * number // _SAMPLES for number in range(_SAMPLES)}):
            file.seek(offset)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:20]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def is_on_cpu(modules: Iterable[Any]) -> bool:
    """Return whether every tensor of the modules is on the CPU."""
    return all(
        tensor.device.type == "cpu" for module in modules for tensor in (*module.parameters(), *module.buffers())
    )
