"""Checkpoints: one safetensors file that is always whole, and that can only ever be data.

Tensors lie in the file under readable names ("model.conv.weight", "optimizer.state.0.exp_avg"); all the rest (step,
settings, learning rates) is JSON in its header, beside a checksum of everything. A file is written under another name
and moved into place when complete, so whoever reads `path` finds the old checkpoint or the new one, never half of one.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

HEADER = "musicai"  # a single key: safetensors writes several in random order, and equal runs give equal files


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, read, or used here; the message names the file and what to do."""


def save_checkpoint(path: str | Path, state: Mapping[str, Any], info: Any = None) -> None:
    """Write the state of models, optimizers and anything else with `state_dict()` to one file, atomically.

    >>> save_checkpoint("gan.safetensors", {"generator": generator}, {"step": 10_000})  # doctest: +SKIP

    state: name -> an object with `state_dict()`, or plain data (dicts, lists, numbers, text, tensors, arrays).
    info: JSON-able facts to keep beside it.

    Raises CheckpointError when the file cannot be written; the one that was there is then untouched.
    """
    path, tensors = Path(path), {}
    temporary = path.with_name(f".{path.name}.tmp")
    tree = {name: _encode(_state_dict(part), name, tensors) for name, part in state.items()}
    text = json.dumps({"info": _encode(info, "info", tensors), "state": tree})
    header = json.dumps({"crc32": _checksum(text, tensors), "content": text})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, save(_unshared(tensors), {HEADER: header}))
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error}; free the disk or choose another") from error
    finally:
        _remove(temporary)


def load_checkpoint(path: str | Path, state: Mapping[str, Any] | None = None) -> Any:
    """Load parts of a checkpoint into the objects given, in place; the info it was saved with is returned.

    >>> load_checkpoint("gan.safetensors", {"ema.generator": generator})  # doctest: +SKIP

    state: part name -> object with `load_state_dict()`. A checkpoint of `fit` has the parts of its `state=` and, with
    `ema=`, "ema.<name>". Parts that are not asked for stay unread.

    Raises CheckpointError when the file is damaged, or does not fit: every name and shape that differs is listed, and
    no model has been changed.
    """
    saved, info = read_checkpoint(path)
    put_state(path, saved, state or {})
    return info


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], Any]:
    """The (state, info) of a checkpoint as plain data and tensors. Raises CheckpointError for a damaged file."""
    try:
        with open(path, "rb"):  # says plainly what is wrong where a path cannot be read
            pass
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if header["crc32"] != _checksum(header["content"], tensors):
            raise ValueError("its checksum does not match its content")
        content = json.loads(header["content"])
        state = {name: _decode(part, tensors) for name, part in content["state"].items()}
        return state, _decode(content["info"], tensors)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except Exception as error:  # whatever a hostile file provokes in the parsers above is its own fault
        raise CheckpointError(f"{path} is no whole checkpoint of musicai ({type(error).__name__}: {error})") from error


def put_state(path: str | Path, saved: Mapping[str, Any], state: Mapping[str, Any], also: list[str] | None = None):
    """Load the saved parts into the objects, or raise one CheckpointError that lists all that differs and `also`."""
    differences = list(also or [])
    for name, part in state.items():
        if name not in saved:
            differences.append(f"{name}: not in the checkpoint, which has {', '.join(saved) or 'nothing'}")
        elif isinstance(part, nn.Module):
            differences += _differences(name, part.state_dict(), saved[name])
    if differences:
        raise CheckpointError(
            f"checkpoint {path} does not fit ({len(differences)} differences):\n  "
            + "\n  ".join(differences)
            + "\nUse the settings it was made with, or another checkpoint path."
        )
    for name, part in state.items():
        try:
            part.load_state_dict(saved[name])
        except Exception as error:
            raise CheckpointError(f"checkpoint {path} does not fit {name}: {error}") from error


def _differences(name: str, ours: Mapping[str, Any], theirs: Any) -> list[str]:
    if not isinstance(theirs, Mapping):
        return [f"{name}: holds no weights in the checkpoint"]
    shapes = {key: _shape(value) for key, value in ours.items()}
    saved_shapes = {key: _shape(value) for key, value in theirs.items()}
    return [
        f"{name}.{key}: {saved_shapes.get(key, 'missing')} in the checkpoint, {shapes.get(key, 'missing')} here"
        for key in [*shapes, *(key for key in saved_shapes if key not in shapes)]
        if shapes.get(key) != saved_shapes.get(key)
    ]


def _shape(value: Any) -> str:
    return (
        f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}" if isinstance(value, Tensor) else "no tensor"
    )


def _state_dict(part: Any) -> Any:
    return part.state_dict() if hasattr(part, "state_dict") else part


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON in which each tensor is replaced by its name in `tensors`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return {"$array": _store(torch.from_numpy(value), name, tensors)}
    if isinstance(value, Tensor):
        return {"$tensor": _store(value, name, tensors)}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        if not all(isinstance(key, int | float | str) for key in value):
            raise CheckpointError(f"cannot save {name}: its keys must be text or numbers")
        return {"$dict": [[key, _encode(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    raise CheckpointError(
        f"cannot save {name}, a {type(value).__name__}: give it a state_dict() of numbers, text, lists and tensors"
    )


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "$tensor":
        return tensors[content]
    if kind == "$array":
        return tensors[content].numpy()
    if kind == "$tuple":
        return tuple(_decode(content, tensors))
    if kind == "$dict":
        return {key: _decode(item, tensors) for key, item in content}
    raise ValueError(f"unknown kind {kind!r}")


def _store(tensor: Tensor, name: str, tensors: dict[str, Tensor]) -> str:
    while name in tensors:  # {"a.b": x, "a": {"b": y}}
        name += "_"
    tensors[name] = tensor.detach().cpu().contiguous()
    return name


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied weights, written twice: safetensors wants each tensor in memory of its own."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return tensors


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(f"{name} {_shape(tensors[name])}".encode(), crc)
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), crc)
    return crc


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # on the disk itself before it takes the place of the old one


def _flush_folder(path: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the error that matters is already on its way
        path.unlink(missing_ok=True)
