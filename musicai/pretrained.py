"""Models in folders: `config.json` says how to build one, `model.safetensors` has the weights, `README.md` is the card.

A folder may come from anywhere, so nothing in it is trusted: JSON and safetensors files hold only data, never
code, and a configuration cannot make its class build more than a small multiple of the weights that come with it.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args, get_origin

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from musicai.extras import require
from musicai.storage import atomic_write

__all__ = ["Pretrained", "PretrainedError", "resolve", "shipped"]

SHIPPED = Path(__file__).parent / "checkpoints"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CONFIG, MAX_NUMBER = 1 << 16, 1 << 24  # bytes, the largest number in a config
FREE_SIZE = 1 << 12  # a size in a config may be this large, or 4 times the largest dimension of the weights
FREE_ELEMENTS, FREE_OPERATIONS = 1 << 22, 1000  # what building may use beyond the weights, for tables and the like


class PretrainedError(ValueError):
    """A model that cannot be found, read, built or saved; the message says what is wrong and what to do.

    >>> resolve("no such model")
    Traceback (most recent call last):
    musicai.pretrained.PretrainedError: there is no model 'no such model': ...

    Chapter 4.
    """


def check_config(config, may_be_zero: tuple[str, ...] = ()) -> None:
    """Raise a ValueError for the first field of a model's config that has another type, or is a size below 1.

    >>> check_config(WaveNetConfig())  # its own __post_init__ does this  # doctest: +SKIP

    Args:
        config: the dataclass.
        may_be_zero: the sizes that may be 0.

    Raises:
        ValueError: if a field does not fit; the message names it.

    Chapter 5.
    """
    for field in dataclasses.fields(config):
        value, kind, least = getattr(config, field.name), field.type, 0 if field.name in may_be_zero else 1
        name = kind if get_args(kind) else kind.__name__
        if not _is(value, kind):
            raise ValueError(f"{field.name} must be of type {name}, such as {field.default!r}; got {value!r:.80}")
        if kind is int and value < least:
            raise ValueError(f"{field.name} must be {least} or more; got {value}")


def _is(value, kind) -> bool:
    """Whether a value is of a type such as int, float, bool or tuple[int, ...], for which a list will do."""
    if get_origin(kind) is tuple:
        return isinstance(value, tuple | list) and all(_is(item, get_args(kind)[0]) for item in value)
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind)) and isinstance(value, bool) == (kind is bool)


class Pretrained:
    """A mixin that saves a model to a folder and loads it by name: `class WaveGANGenerator(Pretrained, nn.Module)`.

    >>> generator = WaveGANGenerator.from_pretrained("wavegan-drums")  # doctest: +SKIP
    >>> generator.save_pretrained("runs/my-drums", card="Drums, 10,000 steps")  # doctest: +SKIP

    The model keeps `self.config`: the arguments of its constructor by name, as a dict; or, if the constructor takes one
    dataclass, that dataclass. Everything in it must be valid JSON; lists come back as tuples.

    Attributes:
        config_class: the dataclass that the constructor takes, or None if it takes plain arguments.
        quantities: the fields of the config that are not sizes, so they may be large even in a small model.

    Chapter 4.
    """

    config_class: type | None = None
    quantities: tuple[str, ...] = ("sr", "sample_rate", "seed")

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> None:
        """Write config.json, model.safetensors and (with `card`) README.md; if anything fails, nothing changes.

        Args:
            folder: where to write; created if it does not exist. Other files in it are kept.
            card: the model card in Markdown: data, steps, device, metrics, seed, command.

        Raises:
            PretrainedError: if the config is not JSON, weights are not finite, or the files cannot be written.
        """
        plain = dataclasses.asdict(self.config) if dataclasses.is_dataclass(self.config) else self.config
        # safetensors requires each tensor to have its own memory
        weights = {key: t.detach().to("cpu", copy=True).contiguous() for key, t in self.state_dict().items()}
        try:
            text = json.dumps({"class": type(self).__name__, **plain}, indent=2)
            self._check_sizes(json.loads(text), weights)  # never save what could not be loaded again
            files = {WEIGHTS: save(_finite(weights)), CONFIG: text.encode() + b"\n"}
            if card is not None:
                files[CARD] = card.rstrip().encode() + b"\n"
            (folder := Path(os.path.expanduser(folder))).mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                for name, content in files.items():
                    file = stack.enter_context(atomic_write(Path(folder, name)))
                    file.write(content)
                    file.flush()  # so that a full disk shows up before any file is replaced
        except (OSError, TypeError, ValueError) as error:
            raise PretrainedError(f"cannot save the model to {folder}: {error}") from error

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | torch.device | None = None):
        """Load a model from a folder, from those shipped with musicai or from the Hugging Face hub, in eval mode.

        Args:
            name: a folder, a shipped name (see `shipped`), or a hub id "owner/name" (needs the extra `hub`).
            device: where to put the model; None means the CPU.

        Returns: the model, in float32 regardless of the type in the file.

        Raises:
            PretrainedError: if there is no such model, a file is damaged or hostile, or the weights do not fit; the
                message lists every missing or unexpected key and every mismatched shape.
        """
        folder = resolve(name)
        with _reading(folder / CONFIG) as path, path.open("rb") as file:
            config = {**json.loads(file.read(MAX_CONFIG))}  # a longer file is cut short, so it fails to parse
        if (found := config.pop("class", None)) != cls.__name__:
            raise PretrainedError(f"{folder} holds a {found!r}, not a {cls.__name__}: load it with its own class")
        with _reading(folder / WEIGHTS) as path:
            weights = _finite(load_file(path))
        try:
            model = cls._build(config, weights).eval()
        except Exception as error:  # the constructor was given untrusted numbers
            what = f"{folder} does not fit {cls.__name__} with the configuration {config!s:.300}"
            raise PretrainedError(f"{what}: {type(error).__name__}: {error}") from error
        return model.to(device)

    @classmethod
    def _build(cls, config: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
        """Build the model that the configuration describes, if these weights allow one so large, and load them."""
        cls._check_sizes(config, weights)
        arguments = {key: _tuples(value) for key, value in config.items()}
        with torch.random.fork_rng(devices=[]), _Budget(weights):
            model = cls(cls.config_class(**arguments)) if cls.config_class else cls(**arguments)
        model.load_state_dict(weights)  # its error lists every missing or unexpected key and every mismatched shape
        return model

    @classmethod
    def _check_sizes(cls, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """Refuse numbers too large for any model with these weights, before anything is built from them."""
        most = 4 * max(FREE_SIZE // 4, len(weights), *(size for tensor in weights.values() for size in tensor.shape), 0)
        for field, value in config.items():
            for number in _numbers(value):
                limit = most if isinstance(number, int) and field not in cls.quantities else MAX_NUMBER
                if not abs(number) <= limit:  # written this way, it also refuses NaN
                    reason = f"is not a number up to {limit:,}, which would make the model far larger than its weights"
                    raise ValueError(f"{field} = {value!s:.40} {reason}; name fields that are no sizes in `quantities`")


def shipped() -> list[str]:
    """List the models that come with musicai.

    >>> "wavegan-drums" in shipped()
    True

    Returns: their names, for `from_pretrained`.

    Chapter 4.
    """
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def resolve(name: str | Path) -> Path:
    """Find a model's folder from a path, a shipped name or a hub id.

    >>> resolve("wavegan-drums").name
    'wavegan-drums'

    Args:
        name: a folder, a shipped name, or a hub id "owner/name", which is downloaded (needs the extra `hub`).

    Returns: the folder.

    Raises:
        PretrainedError: if there is no such model.

    Chapter 4.
    """
    text = os.path.expanduser(name)
    if os.path.isdir(text):  # unlike Path.is_dir, it raises no error for impossible names
        return Path(text)
    if text in shipped():
        return SHIPPED / text
    if name == text and re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", text) and ".." not in text:
        return _from_hub(text)
    known = f"it is not a folder here, and the shipped ones are {', '.join(shipped()) or 'none'}"
    raise PretrainedError(f"there is no model {text[:200]!r}: {known}")


def _from_hub(name: str) -> Path:
    try:
        hub = require("huggingface_hub", "hub", "loading a model from there")
        return Path(hub.snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # the hub's client raises whatever its transport raises
        reason = f"cannot load it from the Hugging Face hub ({type(error).__name__}: {error})"
        raise PretrainedError(f"{name!r} is not a folder here, and musicai {reason}") from error


# ---- reading


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """Turn any error that a damaged or hostile file causes in its reader into a PretrainedError."""
    if not path.is_file():  # opening a pipe would block for ever
        raise PretrainedError(f"{path.parent} holds no model: there is no file {path.name}")
    try:
        yield path
    except Exception as error:
        raise PretrainedError(f"{path} is incomplete or corrupt ({type(error).__name__}: {error!s:.200})") from error


def _numbers(value: Any) -> Iterator[int | float]:
    """Yield every number in part of a configuration."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _finite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for key, tensor in tensors.items():
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # torch.isfinite does not know 8-bit floats
        if not torch.isfinite(wide).all():
            raise PretrainedError(f"{key} is not finite as {tensor.dtype}")
    return tensors


class _Budget(TorchDispatchMode):
    """Limit the elements created and the operations run inside to what a model with these weights needs."""

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        self.elements = FREE_ELEMENTS + 4 * sum(tensor.numel() for tensor in weights.values())
        self.operations = FREE_OPERATIONS + 20 * len(weights)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.operations -= 1
        if any(argument.name == "device" for argument in func._schema.arguments):  # creates or copies a tensor
            drawn = {"generator": None} if "generator" in kwargs else {}  # a CPU's generator cannot draw on "meta"
            self.elements -= func(*args, **kwargs | drawn | {"device": "meta"}).numel()
        if self.elements < 0 or self.operations < 0:
            raise ValueError("the model would be far larger than its weights")
        return func(*args, **kwargs)
