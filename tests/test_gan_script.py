"""scripts/train_wavegan.py from end to end, at a size that takes seconds: broken off, gone on with, judged, loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from musicai.gan import WaveGANGenerator

SCRIPT = Path(__file__).parent.parent / "scripts" / "train_wavegan.py"
TINY = ["--config", "cpu", "--size", "1", "--batch", "2", "--judge", "2"]


def train(out, steps):
    command = [sys.executable, str(SCRIPT), *TINY, "--out", str(out), "--steps", str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_it_trains_goes_on_and_leaves_what_it_says(tmp_path):
    train(tmp_path, 2)
    said = train(tmp_path, 4)
    assert "going on from step 2 of 4" in said
    assert "Frechet audio distance" in said
    assert sorted(path.name for path in (tmp_path / "ladder").iterdir()) == [
        f"step-{step:06d}.mp3" for step in (0, 2, 4)
    ]
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["step"] == 4
    curves = np.load(tmp_path / "curves.npz")
    assert {"discriminator", "generator", "penalty", "frechet"} <= set(curves)
    assert len(curves["generator"]) == 4
    assert np.isfinite(curves["frechet"]).tolist() == [False, True, False, True]
    assert WaveGANGenerator.from_pretrained(tmp_path / "model").config["size"] == 1
