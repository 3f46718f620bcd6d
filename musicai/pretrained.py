"""Models in folders: `config.json` tells how to build one, `model.safetensors` has its weights, `README.md` the card.

A folder comes from anywhere, so nothing in it is trusted: JSON and safetensors can only ever be data, and a
configuration may not make its class allocate more than a small multiple of the weights that lie beside it.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

SHIPPED = Path(__file__).parent / "checkpoints"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CONFIG, MAX_HEADER, MAX_NUMBER = 1 << 16, 1 << 22, 1 << 24  # bytes, bytes, the largest whole number in a config
SPARE = 1 << 26  # elements that a model may make beside its weights, for tables and the like: 256 MB of float32
FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
OTHERS = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
DTYPES = FLOATS | OTHERS | {"BOOL": torch.bool}


class PretrainedError(ValueError):
    """A model that cannot be found, read, built or saved; the message says what differs and what to do."""


class Pretrained:
    """What lets a model be saved to a folder and loaded by name: `class WaveGANGenerator(Pretrained, nn.Module)`.

    >>> generator = WaveGANGenerator.from_pretrained("wavegan-drums")  # doctest: +SKIP
    >>> generator.save_pretrained("runs/my-drums", card="Drums, 10,000 steps")  # doctest: +SKIP

    The model keeps `self.config`: the arguments of its constructor by name, as a dict; or, when the constructor takes
    one dataclass, that dataclass, with `config_class` naming it. All of it must be JSON; lists come back as tuples.
    """

    config_class: type | None = None

    def save_pretrained(self, folder: str | Path, card: str | None = None, dtype: torch.dtype | None = None) -> None:
        """Write config.json, model.safetensors and (with `card`) README.md. Either all is written or nothing changes.

        Args:
            folder: made if it is not there; other files in it stay.
            card: the model card, Markdown: data, steps, device, metrics, seed, command.
            dtype: the type to store floating-point weights in; torch.float16 halves the file. None: as they are.
        Raises:
            PretrainedError: the config is no JSON, weights are not finite, or the disk refuses.
        """
        config = {"class": type(self).__name__, **_plain(self.config)}
        files = {WEIGHTS: save(_stored(self.state_dict(), dtype)), CONFIG: _checked_text(config)}
        if card is not None:
            files[CARD] = card.rstrip().encode() + b"\n"
        _write_all(Path(folder), files)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ):
        """The model in a local folder, shipped with musicai, or on the Hugging Face hub; in eval mode.

        Args:
            name: a folder; else a shipped name (see `shipped`); else a hub id "owner/name" (extra `hub`).
            device: where to put it; None is the CPU.
            dtype: its floating-point type; None is float32, whatever type the file holds.
        Raises:
            PretrainedError: nothing there, a damaged or hostile file, or a model that differs: every missing and
                unexpected key and every other shape is listed.
        """
        folder = find(name)
        config = _read_config(folder / CONFIG)
        if config.pop("class", None) != cls.__name__:
            found = json.loads((folder / CONFIG).read_bytes()).get("class")
            raise PretrainedError(f"{folder} holds a {found!r}, not a {cls.__name__}: load it with its own class")
        with _weights(folder / WEIGHTS) as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            model = _built(cls, config, shapes, folder)
            _check_fit(model, file, shapes, folder)
            _fill(model, file, folder)
        return model.eval().to(device=device, dtype=dtype)


def shipped() -> list[str]:
    """The names of the models that come with musicai."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def find(name: str | Path) -> Path:
    """The folder of a model, by path, shipped name or hub id. Raises PretrainedError where there is none."""
    text = str(name)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # too long, a NUL in it, "~nobody": no folder
        if Path(text).expanduser().is_dir():
            return Path(text).expanduser()
    if text in shipped():
        return SHIPPED / text
    if not isinstance(name, Path) and re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", text) and ".." not in text:
        return _from_hub(text)
    raise PretrainedError(
        f"no model {text[:200]!r}: it is no folder here, and shipped are {', '.join(shipped()) or 'none'}"
    )


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise PretrainedError(
            f"{name!r} is no folder here; to look for it on the Hugging Face hub: pip install 'musicai[hub]'"
        ) from error
    try:
        hf_hub_download(name, WEIGHTS)
        return Path(hf_hub_download(name, CONFIG)).parent  # one snapshot: both files lie in one folder
    except Exception as error:  # the hub's client raises what it and its transport please
        raise PretrainedError(f"cannot load {name!r} from the hub ({type(error).__name__}: {error})") from error


# ---- reading


def _read_config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG or not path.is_file():
            raise ValueError(f"not a file of {MAX_CONFIG:,} bytes or less")
        config = json.loads(path.read_bytes(), parse_constant=_refuse)
        if not isinstance(config, dict):
            raise ValueError("not an object")
        return {name: _checked(value) for name, value in config.items()}
    except FileNotFoundError as error:
        raise PretrainedError(f"{path.parent} holds no model: there is no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise PretrainedError(f"{path} is no model's configuration: {str(error)[:200]}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _checked(value: Any) -> Any:
    """The value with lists as tuples. Raises ValueError for numbers beyond what a model can mean."""
    if isinstance(value, dict):
        return {name: _checked(item) for name, item in value.items()}
    if isinstance(value, list):
        return tuple(_checked(item) for item in value)
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise ValueError(f"{str(value)[:40]} is beyond {MAX_NUMBER:,}")
    return value


@contextlib.contextmanager
def _weights(path: Path) -> Iterator[Any]:
    """The open file of weights, its header checked; what it provokes in the reader becomes a PretrainedError."""
    try:
        if not path.is_file():
            raise PretrainedError(f"{path.parent} holds no weights: there is no file {path.name}")
        with open(path, "rb") as head:
            length = struct.unpack("<Q", head.read(8))[0]
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length:,} bytes")
        with safe_open(path, framework="pt") as file:
            yield file
    except PretrainedError:
        raise
    except Exception as error:
        raise PretrainedError(f"{path} is no whole safetensors file ({type(error).__name__}: {error})") from error


def _built(cls: type, config: dict[str, Any], shapes: Mapping[str, tuple], folder: Path) -> nn.Module:
    """The model that the configuration describes, if it is no larger than the weights beside it allow."""
    budget = _Budget(4 * sum(map(math.prod, shapes.values())) + SPARE, 1000 * len(shapes) + 10_000)
    try:
        with torch.random.fork_rng(devices=[]), budget:
            return cls(cls.config_class(**config)) if cls.config_class else cls(**config)
    except Exception as error:  # the constructor was given a stranger's numbers
        raise PretrainedError(
            f"{folder / CONFIG} does not fit {cls.__name__} ({type(error).__name__}: {error})"
        ) from error


class _Budget(TorchDispatchMode):
    """While this lasts, tensors made from nothing may hold so many elements in all, by so many operations."""

    def __init__(self, elements: int, operations: int):
        super().__init__()
        self.elements, self.operations = elements, operations

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.operations -= 1
        if any(argument.name == "device" for argument in func._schema.arguments):  # a factory, or a copy
            drawn = {"generator": None} if "generator" in kwargs else {}  # one of the CPU cannot draw on "meta"
            self.elements -= func(*args, **kwargs | drawn | {"device": "meta"}).numel()
        if self.elements < 0 or self.operations < 0:
            raise ValueError("it asks for a model far larger than its weights")
        return func(*args, **kwargs)


def _check_fit(model: nn.Module, file: Any, shapes: Mapping[str, tuple], folder: Path) -> None:
    """Raise one PretrainedError for all keys, shapes and types in which file and model differ."""
    ours = model.state_dict()
    wanted = {key: _describe(value.dtype, tuple(value.shape)) for key, value in ours.items()}
    stored = {key: _describe(DTYPES.get(file.get_slice(key).get_dtype()), shape) for key, shape in shapes.items()}
    lines = [
        f"{key[:200]}: {stored.get(key, 'missing')} in the file, {wanted.get(key, 'unexpected')} here"
        for key in [*wanted, *(key for key in stored if key not in wanted)]
        if wanted.get(key) != stored.get(key)
    ]
    if lines:
        shown = lines[:1000] + [f"and {len(lines) - 1000:,} more"] * (len(lines) > 1000)
        raise PretrainedError(
            f"{folder} does not fit {type(model).__name__} ({len(lines)} differences):\n  " + "\n  ".join(shown)
        )


def _describe(dtype: torch.dtype | None, shape: tuple) -> str:
    kind = "float" if dtype in FLOATS.values() else str(dtype).removeprefix("torch.") if dtype else "another type"
    return f"{kind} {list(shape)}"


@torch.no_grad()
def _fill(model: nn.Module, file: Any, folder: Path) -> None:
    for key, tensor in model.state_dict().items():
        value = file.get_tensor(key)
        if not torch.isfinite(value).all():
            raise PretrainedError(f"{folder / WEIGHTS}: {key} holds numbers that are not finite")
        tensor.copy_(value)  # into the model's own type


# ---- writing


def _plain(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config) if dataclasses.is_dataclass(config) else dict(config)


def _checked_text(config: dict[str, Any]) -> bytes:
    """The configuration as JSON that `from_pretrained` will take back."""
    try:
        text = json.dumps(config, indent=2, allow_nan=False)
        _checked(json.loads(text))
    except (TypeError, ValueError) as error:
        raise PretrainedError(f"the config must be JSON, with numbers up to {MAX_NUMBER:,}: {error}") from error
    return text.encode() + b"\n"


def _stored(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The tensors as they go to the file: on the CPU, each in memory of its own, finite."""
    stored = {}
    for key, tensor in state.items():
        value = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None, copy=True).contiguous()
        if not torch.isfinite(value).all():
            raise PretrainedError(f"{key} is not finite as {value.dtype}: nothing was saved")
        stored[key] = value
    return stored


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write every file under another name first: a disk that is full is found out before anything is replaced."""
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with open(temporary[name], "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            os.replace(temporary[name], folder / name)
    except OSError as error:
        raise PretrainedError(f"cannot write the model to {folder}: {error}") from error
    finally:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
