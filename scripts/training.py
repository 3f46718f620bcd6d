"""What the scripts that train have in common: the steps at which they are heard, and settings from the command line."""

import argparse
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from musicai.audio import save

Config = TypeVar("Config")
RUNGS = [0, *(step * 10**power for power in range(2, 6) for step in (1, 2, 5))]  # 0, 100, 200, 500, 1,000, ...


def save_rung(out: Path, step: int, sound: Tensor, sr: int = 16_000, prefix: str = "") -> None:
    """A rung of the listening ladder: sound (time,) or (channels, time), heard after so many steps."""
    (out / "ladder").mkdir(parents=True, exist_ok=True)
    save(out / "ladder" / f"{prefix}step-{step:06d}.mp3", sound.cpu(), sr)


def add_settings(parser: argparse.ArgumentParser, configs: Mapping[str, Config], fields: Iterable[str] = ()) -> None:
    """`--config NAME` of these dataclasses, and an option for each of the fields (all if none are named)."""
    default = configs["cpu"]
    parser.add_argument("--config", choices=configs, default="cpu", help="the settings of a machine")
    for name in fields or (field.name for field in dataclasses.fields(default)):
        parser.add_argument(f"--{name}", type=type(getattr(default, name)), help="in place of the config's")


def settings(args: argparse.Namespace, configs: Mapping[str, Config]) -> Config:
    """The chosen config, with what the command line gives in place of its own."""
    names = [field.name for field in dataclasses.fields(configs[args.config])]
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    return dataclasses.replace(configs[args.config], **given)
