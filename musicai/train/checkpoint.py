"""Checkpoints for bit-exact resuming: each is one safetensors file, always complete, that holds nothing but data.

Tensors have readable names in it ("model.conv.weight", "optimizer.state.0.exp_avg"); everything else (step, settings,
learning rates) is JSON in its header, along with a checksum of everything. `atomic_write` moves a complete file into
place, so anyone who reads `path`, even after kill -9, finds the old checkpoint or the new one, never half of one.
"""

import json
import zlib
from collections.abc import Mapping
from os.path import expanduser
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from musicai.storage import atomic_write

HEADER = "musicai"  # a single key: safetensors writes several in random order, and equal runs give equal files


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, read or used here; the message names the file and says what to do.

    >>> load_checkpoint("nowhere.safetensors")
    Traceback (most recent call last):
    musicai.train.checkpoint.CheckpointError: there is no checkpoint nowhere.safetensors

    Chapters 3 to 5.
    """


def save_checkpoint(path: str | Path, state: Mapping, info=None) -> None:
    """Write the state of models, optimizers and anything else with `state_dict()` to one file, atomically.

    >>> save_checkpoint("gan.safetensors", {"generator": generator}, {"step": 10_000})  # doctest: +SKIP

    Args:
        path: the file; its folder is created if needed.
        state: name -> an object with `state_dict()`, or plain data: dicts, lists, tuples, numbers, text,
            tensors, arrays.
        info: plain data to store with it.

    Raises:
        CheckpointError: if the file cannot be written; an existing one is then left untouched.

    Chapters 3 to 5.
    """
    path, tensors = Path(expanduser(path)), {}
    states = {name: part.state_dict() if hasattr(part, "state_dict") else part for name, part in state.items()}
    parts = [[name, _encode(part, name, tensors)] for name, part in states.items()]
    content = json.dumps([parts, _encode(info, "info", tensors)])
    header = json.dumps({"crc32": _checksum(content, tensors), "content": content})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(save(tensors, {HEADER: header}))
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error}; free space or choose another path") from error


def load_checkpoint(path: str | Path, state: Mapping | None = None):
    """Load parts of a checkpoint into the given objects, in place.

    >>> load_checkpoint("gan.safetensors", {"ema.generator": generator})  # doctest: +SKIP

    Args:
        path: the file.
        state: part name -> object with `load_state_dict()`. A checkpoint from `fit` has the parts of its `state=` and,
            with `ema=`, "ema.<name>". Parts that you don't ask for are ignored.

    Returns: the `info` that was saved with it.

    Raises:
        CheckpointError: if the file is damaged or does not fit; the message lists every name and shape that
            differs, and no model is changed.

    Chapters 3 to 5.
    """
    saved, info = read_checkpoint(path)
    restore(path, {name: saved[name] for name in state or {} if name in saved}, state or {})
    return info


def read_checkpoint(path: str | Path) -> tuple:
    """The (state, info) of a checkpoint as plain data and tensors. Raises CheckpointError for a damaged file."""
    try:
        with safe_open(expanduser(path), framework="pt") as file:
            header = json.loads(file.metadata()[HEADER])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if header["crc32"] != _checksum(header["content"], tensors):
            raise ValueError("its checksum does not match its content")
        parts, info = _decode(header["content"], tensors)
        return dict(parts), info
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except Exception as error:  # a hostile file can make the parsers above raise anything
        why = f"is incomplete or corrupt ({type(error).__name__}: {error})"
        raise CheckpointError(f"checkpoint {path} {why}; delete it to start anew") from error


def restore(path: str | Path, saved: Mapping, parts: Mapping, saved_settings=None, settings=None) -> None:
    """Load the saved parts into the objects, or raise one CheckpointError that lists everything that differs."""
    models = {name for name, part in parts.items() if isinstance(part, nn.Module)}
    theirs = {name: saved[name] if name in models else "a state" for name in saved}
    ours = {name: part.state_dict() if name in models else "a state" for name, part in parts.items()}
    differences = _differences(saved_settings, settings) + _differences(theirs, ours)
    if differences:
        listed = "\n  ".join([f"checkpoint {path} does not fit ({len(differences)} differences):", *differences])
        raise CheckpointError(f"{listed}\nUse the settings it was made with, or another checkpoint path.")
    for name, part in parts.items():
        try:
            part.load_state_dict(saved[name])
        except Exception as error:
            raise CheckpointError(f"checkpoint {path} does not fit {name}: {error}") from error


def _differences(saved, ours) -> list[str]:
    there, here = _flat(saved), _flat(ours)
    pairs = {name: (there.get(name, "missing"), here.get(name, "missing")) for name in {**here, **there}}
    return [f"{name}: {a} in the checkpoint, {b} here" for name, (a, b) in pairs.items() if a != b]


def _flat(value, name: str = "") -> dict[str, str]:
    """Flatten nested dicts into one with dotted names, with each tensor given by its type and shape."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}".lstrip(".")).items()}
    if isinstance(value, Tensor):
        value = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return {name: str(value)}


def _encode(value, name: str, tensors: dict[str, Tensor]):
    """`value` as JSON in which each tensor is replaced by its name in `tensors`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        while name in tensors:  # {"a.b": x, "a": {"b": y}}
            name += "_"
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # a copy: tied weights may share memory
        return {"$tensor": name}
    if isinstance(value, np.ndarray):
        return {"$array": _encode(torch.from_numpy(value.astype(value.dtype.newbyteorder("="), "C")), name, tensors)}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping) and all(isinstance(key, int | float | str) for key in value):
        return {"$dict": [[key, _encode(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    needs = "give it a state_dict() of numbers, text, lists and tensors"
    raise CheckpointError(f"cannot save {name}, a {type(value).__name__}: {needs}")


def _decode(content: str, tensors: dict[str, Tensor]):
    kinds = {"$tensor": tensors.__getitem__, "$array": Tensor.numpy, "$tuple": tuple, "$dict": dict}

    def made(value: dict):
        ((kind, inner),) = value.items()
        return kinds[kind](inner)

    return json.loads(content, object_hook=made)


def _checksum(content: str, tensors: Mapping[str, Tensor]) -> int:
    crc = zlib.crc32(content.encode())
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tensor.shape}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), crc)
    return crc
