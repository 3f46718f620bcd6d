"""A script in two processes, and the numbers of the checkpoints that it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import torch


def torchrun(script: Path, *arguments, timeout: float = 500) -> subprocess.CompletedProcess:
    """`script` with these arguments in two processes of one thread each, to its end, whatever that is."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    options = {"capture_output": True, "text": True, "env": environment, "timeout": timeout, "check": False}
    return subprocess.run([*command, *map(str, arguments)], **options)


def numbers(value, name=""):
    """Every number in a nested state, by name, in float64."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in numbers(item, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return numbers(dict(enumerate(value)), name)
    return {} if value is None or isinstance(value, str) else {name: torch.as_tensor(value, dtype=torch.float64)}
