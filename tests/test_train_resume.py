"""A run that was killed and resumed is the run that was not, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from musicai.train.checkpoint import read_checkpoint

KILLER = Path(__file__).parent / "train_helpers" / "kill_and_resume.py"


def flat(value, name=""):
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{name}.{key}").items()}
    return {name: value}


def test_a_run_killed_12_times_ends_as_the_run_nobody_touched_bit_for_bit(tmp_path):
    command = [sys.executable, str(KILLER), str(tmp_path), "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    kills = json.loads(done.stdout)
    assert kills == {"saving: half": 2, "saving: before": 2, "saving: after": 2, "anywhere": 6}
    untouched = tmp_path / "untouched.safetensors"
    parts, info = read_checkpoint(untouched)
    assert info["step"] == len(parts["fit"]["history"]["critic"]) == 120
    assert {"ema.generator", "schedule", "g_optimizer", "c_optimizer"} < set(parts)
    assert not torch.equal(parts["ema.generator"]["0.weight"], parts["generator"]["0.weight"])
    for path in [tmp_path / "killed.safetensors", *tmp_path.glob("finished-*")]:
        ours = flat(read_checkpoint(path)[0])
        for name, value in flat(parts).items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(value, ours[name], rtol=0, atol=0, equal_nan=True, msg=name)
            else:
                assert value == ours[name], name
        assert path.read_bytes() == untouched.read_bytes()
    assert not list(tmp_path.glob(".*")), "each life removes what the one before left unfinished"
