"""The Triton kernel draws what the cached sampler draws; where there is no GPU, in Triton's interpreter, which is slow.

All but one of these tests let the kernel multiply in float32, so that it must draw the same, code for code.
"""

import os

import pytest
import torch

from musicai.wavenet import WaveNet, sample

SMALL = {"layers": 4, "stacks": 2, "residual_channels": 12, "skip_channels": 20, "end_channels": 24, "classes": 32}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
QUIET = {"progress": False}
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported


@pytest.fixture
def half():
    pytest.importorskip("triton", reason="triton is not installed; it exists for Linux")


@pytest.fixture
def kernel(half, monkeypatch):
    monkeypatch.setattr("musicai.wavenet._fast.gpu.HALF", torch.float32)


def network(peaked=8.0, **config):
    torch.manual_seed(0)
    model = WaveNet(**SMALL | config).eval().requires_grad_(False)
    model.head.linear.weight *= peaked
    return model.to(DEVICE)


def both(model, n, *given, **how):
    return [
        sample(model, n, *given, method=method, precision="auto", **how, **QUIET) for method in ("cached", "triton")
    ]


SHAPES = [
    {},
    {"layers": 1, "stacks": 1, "residual_channels": 1, "skip_channels": 1, "end_channels": 3, "classes": 2},
    {"layers": 3, "stacks": 1, "residual_channels": 33, "skip_channels": 16, "end_channels": 130, "classes": 17},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("streams", [1, 3, 17])
@pytest.mark.usefixtures("kernel")
def test_it_draws_what_the_cached_sampler_draws(shape, streams):
    cached, fused = both(network(**shape), 11, streams=streams, block=5)
    assert torch.equal(cached, fused)
    assert fused.dtype == torch.int64
    assert len(fused.unique()) > min(shape.get("classes", 32), 10) / 2


@pytest.mark.usefixtures("kernel")
def test_conditioning_of_each_stream_is_heard():
    model = network(local_channels=2, upsample=(2, 5), global_classes=3)
    given = {"local": torch.randn(3, 2, 2), "instrument": torch.tensor([2, 0, 1])}
    cached, fused = both(model, 14, given, streams=3, block=9)
    assert torch.equal(cached, fused)
    assert not torch.equal(fused[0], sample(model, 14, given | {"instrument": 0}, streams=3, **QUIET)[0])


@pytest.mark.parametrize("global_classes", [0, 3])
@pytest.mark.usefixtures("kernel")
def test_constant_conditioning_and_openings(global_classes):
    model, given = network(global_classes=global_classes), {"instrument": 1} if global_classes else {}
    opening = torch.randint(32, (2, 9), generator=torch.Generator().manual_seed(0))
    cached, fused = both(model, 8, given, streams=2, opening=opening, block=5)
    assert torch.equal(cached, fused)


@pytest.mark.parametrize("how", [{"temperature": 0.0}, {"temperature": 1.5}])
@pytest.mark.usefixtures("kernel")
def test_temperature(how):
    cached, fused = both(network(), 8, streams=4, **how)
    assert torch.equal(cached, fused)


@pytest.mark.usefixtures("kernel")
def test_of_equally_likely_codes_the_first_is_taken_at_temperature_0():
    model = network(classes=10)
    model.head.linear.weight.zero_()
    model.head.linear.bias.copy_(torch.tensor([0.0, 0, 1, 1, 1, 1, 0, 0, 0, 0]))
    cached, fused = both(model, 1, streams=32, temperature=0)
    assert torch.equal(cached, fused)


@pytest.mark.usefixtures("kernel")
def test_a_killed_run_goes_on(tmp_path):
    model, path, how = (
        network(),
        tmp_path / "run",
        {"streams": 2, "block": 4, "precision": "auto", "method": "triton", **QUIET},
    )
    whole = sample(model, 11, record=path, **how)
    os.truncate(path, path.stat().st_size - 4 * 2 * 5)  # in the middle of the second block
    assert torch.equal(sample(model, 11, record=path, **how), whole)


@pytest.mark.usefixtures("half")
def test_float16_is_near():
    """By 64 evenly spaced uniforms after the same past: how many of them draw each code, against its probability."""
    model, n = network(peaked=40.0), 64
    past = torch.randint(32, (8,), generator=torch.Generator().manual_seed(0))
    u = ((torch.arange(n) + 0.5) / n)[:, None]
    how = {"streams": n, "opening": past, "uniforms": u, "precision": "float16", "method": "triton"}
    found = sample(model, 1, **how, **QUIET)[:, 0].bincount(minlength=32) / n
    given = torch.cat([torch.tensor([16]), past])[None].to(DEVICE)
    truth = model.head(model(given))[0, -1].softmax(0).cpu()
    assert (found.cumsum(0) - truth.cumsum(0)).abs().max() < 1.01 / 2 / n + 0.005
    assert truth.max() > 3 / 32
