"""The GAN's game in two processes (`torchrun`, gloo) ends where it ends in one."""

from pathlib import Path

import torch
from gan_helpers.ranks import STEPS, train
from train_helpers.torchrun import numbers, torchrun

from musicai.train.checkpoint import read_checkpoint

SCRIPT = Path(__file__).parent / "gan_helpers" / "ranks.py"


def test_two_processes_end_where_one_does(tmp_path):
    done = torchrun(SCRIPT, tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    train(tmp_path / "one")
    one, info = read_checkpoint(tmp_path / "one")
    two, other_info = read_checkpoint(tmp_path / "two")
    assert info == other_info
    assert info["step"] == STEPS
    assert one["gan"] == two["gan"] == {"steps": STEPS}
    ours, theirs = numbers(one), numbers(two)
    assert ours.keys() == theirs.keys()
    for part in ("ema.generator.", "discriminator.dense.weight", "g_optimizer.state.", "fit.history.penalty"):
        assert any(part in key for key in ours), part
    for key in ours:  # Adam divides by a gradient's size: a last bit there is up to a step's length here
        assert torch.allclose(ours[key], theirs[key], rtol=1e-4, atol=2e-6, equal_nan=True), key
