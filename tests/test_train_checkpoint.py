"""Checkpoints are whole or not there, and only ever data."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from musicai.train import CheckpointError, checkpoint, load_checkpoint, save_checkpoint
from musicai.train.checkpoint import read_checkpoint


class Own:
    """Somebody's own object with a state."""

    def __init__(self, data=None):
        self.data = data

    def state_dict(self):
        return self.data

    def load_state_dict(self, data):
        self.data = data


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3])
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        schedule.step()
    return {"model": model, "optimizer": optimizer, "schedule": schedule}


def fresh():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    return {
        "model": model,
        "optimizer": optimizer,
        "schedule": torch.optim.lr_scheduler.MultiStepLR(optimizer, [7]),
    }


def test_models_optimizers_and_schedules_come_back_exactly(tmp_path, trained):
    save_checkpoint(tmp_path / "a.safetensors", trained, {"step": 2})
    loaded = fresh()
    assert load_checkpoint(tmp_path / "a.safetensors", loaded) == {"step": 2}
    save_checkpoint(tmp_path / "b.safetensors", loaded, {"step": 2})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert loaded["optimizer"].param_groups[0]["lr"] == pytest.approx(0.001)
    for own, theirs in zip(loaded["model"].parameters(), trained["model"].parameters(), strict=True):
        assert torch.equal(own, theirs)
    loaded["schedule"].step()
    assert loaded["optimizer"].param_groups[0]["lr"] == pytest.approx(0.0001), "the schedule goes on"


def test_weights_have_readable_names_for_any_safetensors_reader(tmp_path, trained):
    save_checkpoint(tmp_path / "a.safetensors", trained)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("model.0.weight"), trained["model"][0].weight)
        assert "optimizer.state.0.exp_avg" in file.keys()  # noqa: SIM118


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
tensors = st.sampled_from([torch.arange(3), torch.zeros(0), torch.tensor(True), torch.tensor(2.5), torch.eye(2).half()])
trees = st.recursive(
    scalars | tensors,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@given(tree=trees)
def test_any_nested_state_comes_back_with_its_types(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    save_checkpoint(path, {"own": Own(tree)})
    own = Own()
    load_checkpoint(path, {"own": own})
    assert equal(tree, own.data)


def test_shared_memory_and_clashing_names_come_back(tmp_path):
    tied = torch.randn(4)
    state = {"a.b": tied, "a": {"b": tied[1:3]}, "n": np.float64(2.5), "c": Counter({30: 1})}
    save_checkpoint(tmp_path / "x", {"own": state})
    loaded = read_checkpoint(tmp_path / "x")[0]["own"]
    assert torch.equal(loaded["a.b"], tied)
    assert torch.equal(loaded["a"]["b"], tied[1:3])
    assert (loaded["n"], loaded["c"]) == (2.5, {30: 1})


def test_what_cannot_be_data_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"own\.deep\.0, a function"):
        save_checkpoint(tmp_path / "x", {"own": {"deep": [lambda: 0]}})
    assert not list(tmp_path.iterdir())


def test_every_difference_is_listed_and_no_model_is_touched(tmp_path, trained):
    save_checkpoint(tmp_path / "x", trained)
    other = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False), nn.PReLU())
    good = fresh()["model"]
    before = [p.clone() for p in good.parameters()]
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "x", {"model": good, "schedule": Own(), "critic": other, "optimizer": other})
    for text in ["critic.0.weight: missing in the checkpoint, float32 [5, 3] here", "optimizer.0.weight"]:
        assert text in str(error.value)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "x", {"model": other})
    for text in [
        "4 differences",
        "model.0.weight: float32 [4, 3] in the checkpoint, float32 [5, 3] here",
        "model.0.bias: float32 [4] in the checkpoint, float32 [5] here",
        "model.2.bias: float32 [2] in the checkpoint, missing here",
        "model.3.weight: missing in the checkpoint, float32 [1] here",
    ]:
        assert text in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, good.parameters(), strict=True))


def test_an_optimizer_of_other_parameters_is_an_error(tmp_path, trained):
    save_checkpoint(tmp_path / "x", trained)
    with pytest.raises(CheckpointError, match="does not fit optimizer"):
        load_checkpoint(tmp_path / "x", {"optimizer": torch.optim.AdamW(nn.Linear(2, 2).parameters())})


def test_mutated_truncated_and_alien_files_give_the_one_error(tmp_path, trained):
    path, rng = tmp_path / "x", random.Random(0)
    save_checkpoint(path, trained, {"step": 2})
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        kind = rng.randrange(4)
        if kind == 0:
            del data[rng.randrange(len(data)) :]
        elif kind == 1:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(1, 50)] = rng.randbytes(rng.randrange(1, 50))
        else:
            data += rng.randbytes(rng.randrange(1, 9))
        path.write_bytes(data)
        refused = False
        try:
            found = read_checkpoint(path)
        except CheckpointError:
            refused = True
        path.write_bytes(whole)
        assert refused or equal(found, read_checkpoint(path)), "a changed byte of white space may change nothing"


@pytest.mark.parametrize("content", [
    "[5, 0]", "[]", "[" * 100_000, '[[["model", {"$tensor": "nowhere"}]], null]', "null", "", '{"$dict": []}',
    '[[["model", {"$call": "os.system"}]], null]', '[[["model", {"$dict": 3}]], null]',
    '[[["model", {"$dict": [[[1], 2]]}]], null]', '[[["model", {}]], null]',
])  # fmt: skip
def test_hostile_content_with_a_right_checksum_gives_the_one_error(tmp_path, content):
    header = {"crc32": checkpoint._checksum(content, {}), "content": content}
    save_file({}, tmp_path / "x", {"musicai": json.dumps(header)})
    with pytest.raises(CheckpointError, match="incomplete or corrupt"):
        read_checkpoint(tmp_path / "x")


def test_other_files_folders_and_missing_files_give_the_one_error(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "alien")
    (tmp_path / "empty").touch()
    torch.save({"a": 1}, tmp_path / "pickle")
    for name in ("alien", "empty", "pickle", "missing", "."):
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / name, {})


def old_and_new(tmp_path):
    save_checkpoint(tmp_path / "x", {"own": torch.zeros(10)}, "old")
    return {"own": torch.zeros(500_000)}


def still_old(tmp_path):
    assert load_checkpoint(tmp_path / "x") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_raises_and_leaves_the_old_checkpoint(tmp_path):
    big = old_and_new(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*x"):
            save_checkpoint(tmp_path / "x", big, "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    still_old(tmp_path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_disk_raises_and_leaves_the_old_checkpoint(tmp_path, monkeypatch, failing):
    big = old_and_new(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(CheckpointError, match="No space left"):
            save_checkpoint(tmp_path / "x", big, "new")
    still_old(tmp_path)


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    big = old_and_new(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path / "x", big, "new")
    still_old(tmp_path)


READ_ONLY = """
import os, sys
from musicai.train import CheckpointError, load_checkpoint, save_checkpoint
os.setuid(65534) if os.geteuid() == 0 else None
try:
    save_checkpoint(sys.argv[1], {"own": {"a": 1}}, "new")
except CheckpointError as error:
    print("refused:", error, load_checkpoint(sys.argv[1]))
"""


def test_a_read_only_folder_raises_and_leaves_the_old_checkpoint():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(folder / "x", {"own": {"a": 0}}, "old")
        folder.chmod(0o555)  # root is let off such rules, so the child drops root
        command = [sys.executable, "-c", READ_ONLY, str(folder / "x")]
        output = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
        folder.chmod(0o755)
        assert output.stdout.startswith("refused: cannot write checkpoint"), output
        assert output.stdout.endswith("old\n")
        assert [path.name for path in folder.iterdir()] == ["x"]
