"""The GAN's game in two processes (`torchrun`, gloo) ends where it ends in one."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from gan_helpers.ranks import STEPS, train

from musicai.train.checkpoint import read_checkpoint

SCRIPT = Path(__file__).parent / "gan_helpers" / "ranks.py"


def numbers(value, name=""):
    """Every number in a nested state, by name, in float64."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in numbers(item, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return numbers(dict(enumerate(value)), name)
    return {} if value is None or isinstance(value, str) else {name: torch.as_tensor(value, dtype=torch.float64)}


def test_two_processes_end_where_one_does(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    options = {"capture_output": True, "text": True, "env": environment, "timeout": 180, "check": False}
    done = subprocess.run([*command, str(tmp_path / "two")], **options)
    assert done.returncode == 0, done.stderr[-3000:]
    train(tmp_path / "one")
    one, info = read_checkpoint(tmp_path / "one")
    two, other_info = read_checkpoint(tmp_path / "two")
    assert info == other_info
    assert info["step"] == STEPS
    assert one["gan"] == two["gan"] == {"turns": 2 * STEPS}
    ours, theirs = numbers(one), numbers(two)
    assert ours.keys() == theirs.keys()
    for part in ("ema.generator.", "discriminator.dense.weight", "g_optimizer.state.", "fit.history.penalty"):
        assert any(part in key for key in ours), part
    for key in ours:  # Adam divides by a gradient's size: a last bit there is up to a step's length here
        assert torch.allclose(ours[key], theirs[key], rtol=1e-4, atol=2e-6, equal_nan=True), key
