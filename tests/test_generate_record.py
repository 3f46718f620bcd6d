"""A record grows with a run; a run that was killed goes on from it and draws what it would have drawn."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from musicai.notes import Melody
from musicai.wavenet import ScoreWaveNet, WaveNet, sample, score_frames
from musicai.wavenet.generate import Cached

HOW = {"method": "cached", "block": 50, "streams": 2, "progress": False}


def network(**config):
    torch.manual_seed(0)
    shape = {"layers": 6, "stacks": 2, "residual_channels": 8, "skip_channels": 16, "end_channels": 16, "classes": 32}
    model = WaveNet(**shape | config).requires_grad_(False)
    model.head.linear.weight *= 5
    return model


@pytest.mark.parametrize("config", [{}, {"mixtures": 3}, {"kernel_size": 3}])
@pytest.mark.parametrize("blocks", [0, 1, 4])
@pytest.mark.parametrize("torn", [b"", b"123"])
def test_a_killed_run_loses_only_its_block(tmp_path, monkeypatch, config, blocks, torn):
    model, path, block, begun = network(**config), tmp_path / "run", Cached.block, []
    whole = sample(model, 320, **HOW)

    def killed(*arguments):
        begun.append(1)
        if len(begun) > blocks:
            raise RuntimeError("killed")
        return block(*arguments)

    monkeypatch.setattr(Cached, "block", killed)
    with pytest.raises(RuntimeError, match="killed"):
        sample(model, 320, record=path, **HOW)
    monkeypatch.undo()
    with path.open("ab") as file:
        file.write(torn)  # a write that was cut short
    starts = []
    monkeypatch.setattr(Cached, "block", lambda *a: starts.append(a[1]) or block(*a))
    assert torch.equal(sample(model, 320, record=path, **HOW), whole)
    # It heard no more again than a receptive field, and the block in which that begins.
    assert min(starts) > 50 * (blocks - 1) - model.receptive_field
    assert torch.equal(sample(model, 320, record=path, **HOW), whole)


def test_conditioning_and_opening_go_on(tmp_path):
    model, path = network(local_channels=2, upsample=(4,)), tmp_path / "run"
    how = HOW | {"conditioning": {"local": torch.randn(2, 50)}, "opening": torch.randint(32, (2, 40)), "record": path}
    whole = sample(model, 160, **how)
    size = path.stat().st_size
    os.truncate(path, size - 4 * 2 * 90)
    assert torch.equal(sample(model, 160, **how), whole)
    assert path.stat().st_size == size


@pytest.mark.parametrize("method", ["cached", "cpu"])
@pytest.mark.parametrize("heard", [0, 70, 130])
def test_values_go_on_to_the_bit(tmp_path, method, heard):
    """Codes forgive a sum that is rounded otherwise; values do not, and errors grow."""
    shape = {"residual_channels": 8, "skip_channels": 16, "end_channels": 16, "mixtures": 3, "upsample": (4, 5)}
    torch.manual_seed(0)
    model, path, n = ScoreWaveNet(layers=10, stacks=2, **shape).requires_grad_(False), tmp_path / "run", 700
    model.head.linear.weight *= 5
    local = score_frames(Melody.from_pitches([69, 72]).to_score(), 16_000, 20, heard + n)
    how = HOW | {"conditioning": {"local": local, "instrument": 0}, "method": method, "block": 90, "record": path}
    how["opening"] = 0.1 * torch.randn(heard)
    whole = sample(model, n, **how)
    size = path.stat().st_size
    for lost in (1, 300, 1001, 2222, 5000):
        os.truncate(path, size - lost)
        assert torch.equal(sample(model, n, **how), whole)
        assert path.stat().st_size == size


@pytest.mark.parametrize("streams", [1, 2])
def test_one_instrument_for_all_streams_goes_on(tmp_path, streams):
    model, options = network(global_classes=3), HOW | {"streams": streams}
    whole = sample(model, 120, {"instrument": 2}, record=tmp_path / "run", **options)
    assert torch.equal(sample(model, 120, {"instrument": 2}, record=tmp_path / "run", **options), whole)
    with pytest.raises(ValueError, match="not a record of this call"):
        sample(model, 120, {"instrument": 1}, record=tmp_path / "run", **options)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"temperature": 0.5}, {"streams": 1}, {"n": 90}, {"block": 60}, {"opening": torch.tensor([3])}],
)
def test_a_record_of_another_call_is_refused(tmp_path, change):
    path, how = tmp_path / "run", HOW | {"record": tmp_path / "run", "n": 100}
    sample(network(), **how)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not a record of this call"):
        sample(network(), **how | change)
    with pytest.raises(ValueError, match="not a record of this call"):
        sample(network(skip_channels=17), **how)
    assert path.read_bytes() == before


def test_a_record_gives_no_more_than_was_asked_for(tmp_path):
    path, how = tmp_path / "run", HOW | {"record": tmp_path / "run", "n": 100}
    whole, size = sample(network(), **how), path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(24))  # two processes on one record, say
    assert torch.equal(sample(network(), **how), whole)
    assert path.stat().st_size == size


@pytest.mark.parametrize("content", [b"hello\n" * 9, b"\0" * 100, b"[1]\n", b"null\n", b"{}\n", b"x" * 100_000])
def test_a_file_that_is_not_a_record_is_left_alone(tmp_path, content):
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a record of this call"):
        sample(network(), 10, record=path, **HOW)
    assert path.read_bytes() == content


CODE = """
import sys
sys.path.insert(0, sys.argv[2])
import test_generate_record as here
here.sample(here.network(), 10**6, record=sys.argv[1], **here.HOW)
"""


def test_a_process_that_is_killed(tmp_path):
    path = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", CODE, str(path), os.path.dirname(__file__)])
    end = time.time() + 500
    while time.time() < end and (not path.exists() or path.stat().st_size < 4000) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    body = path.read_bytes().split(b"\n", 1)[1]
    times = len(body) // 8
    assert times >= 50
    found = torch.frombuffer(bytearray(body[: 8 * times]), dtype=torch.int32).reshape(times, 2).T
    assert torch.equal(found[:, :300].long(), sample(network(), 10**6 if times > 10**6 else min(times, 300), **HOW))


def test_what_a_sketch_adds_is_the_same_to_the_bit(tmp_path):
    """The recorded part comes back in one piece, but the sketch is added in the blocks in which it was drawn."""
    model = ScoreWaveNet.from_pretrained("wavenet-renderer")
    how = {"conditioning": model.conditioning(Melody.from_pitches([72, 74, 76]).to_score(), "flute", 6000)}
    how |= {"block": 1000, "seed": 5, "record": tmp_path / "run", "progress": False}
    whole = sample(model, 6000, **how)
    os.truncate(how["record"], how["record"].stat().st_size - 4 * 2990)
    assert torch.equal(sample(model, 6000, **how), whole)
