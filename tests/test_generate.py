"""Samplers: all draw what the equations say, from the same uniforms; bad requests are refused by name."""

import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicai.notes import Note, Score, Track
from musicai.wavenet import ScoreWaveNet, WaveNet, sample, score_frames, stream, total_variation
from musicai.wavenet.generate.samplers import Conditioning, Uniforms

METHODS = ("naive", "cached", "cpu")
SMALL = {"layers": 6, "stacks": 2, "residual_channels": 12, "skip_channels": 20, "end_channels": 24, "classes": 32}
QUIET = {"progress": False}


def network(seed=0, peaked=8.0, **config):
    """A WaveNet whose distributions differ from sample to sample, as those of a trained one do."""
    torch.manual_seed(seed)
    model = WaveNet(**{**SMALL, **config}).eval().requires_grad_(False)
    model.head.linear.weight *= peaked
    return model


def reference(model, n, uniforms, local=None, instrument=None, temperature=1.0, top_p=None):
    """The equations of the paper in NumPy and float64: one stream, (n,). It shares nothing with the samplers."""
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}
    c, history, out = model.config, [], []
    h = condition(model, w, n, local, instrument)
    for t in range(n):
        inputs = np.array([model.silence, *history])  # of times 0 to t
        if c.mixtures:
            x = inputs[:, None] * w["input.weight"][:, 0, 0] + w["input.bias"]
        else:
            x = w["input.weight"][inputs.astype(int)]
        skips = 0
        for i, d in enumerate([2**j for j in range(c.layers // c.stacks)] * c.stacks):
            name = f"stack.blocks.{i}."
            z = w[name + "conv.bias"] + np.zeros((t + 1, 1))
            for tap in range(c.kernel_size):
                back = (c.kernel_size - 1 - tap) * d
                past = np.concatenate([np.zeros((back, x.shape[1])), x])[: t + 1]
                z = z + past @ w[name + "conv.weight"][..., tap].T
            if h is not None:
                z = z + h[: t + 1] @ w[name + "condition.weight"][..., 0].T
            filtered, gate = np.split(z, 2, axis=1)
            z = np.tanh(filtered) / (1 + np.exp(-gate))
            skips = skips + z @ w[name + "skip.weight"][..., 0].T + w[name + "skip.bias"]
            if name + "residual.weight" in w:
                x = x + z @ w[name + "residual.weight"][..., 0].T + w[name + "residual.bias"]
        last = np.maximum(skips[-1], 0) @ w["output.weight"][..., 0].T + w["output.bias"]
        raw = w["head.linear.weight"] @ np.maximum(last, 0) + w["head.linear.bias"]
        out.append(drawn(model, raw, np.atleast_1d(uniforms[t]), temperature, top_p))
        history.append(out[-1])
    return np.array(out)


def condition(model, w, n, local, instrument):
    parts = []
    if local is not None:
        parts.append(model.upsample(torch.as_tensor(local)[None])[0, :, :n].T.double().numpy())
    if instrument is not None:
        parts.append(np.tile(w["instruments.weight"][instrument], (n, 1)))
    return np.concatenate(parts, axis=1) if parts else None


def drawn(model, raw, u, temperature, top_p):
    k = model.config.mixtures or model.config.classes
    if temperature == 0:
        chosen = int(raw[:k].argmax())
    else:
        p = np.exp((raw[:k] - raw[:k].max()) / temperature)
        p /= p.sum()
        if top_p is not None:
            order = np.argsort(-p, kind="stable")
            p[order[np.cumsum(p[order]) - p[order] >= top_p]] = 0
        chosen = int((np.cumsum(p) <= u[0] * p.sum()).sum())
    if not model.config.mixtures:
        return chosen
    from scipy.special import ndtri

    low, high = model.head.bounds
    inner = np.logaddexp(0, high - raw[2 * k + chosen])
    scale = np.exp(low + np.logaddexp(0, high - low - inner))
    return float(np.clip(raw[k + chosen] + temperature * scale * ndtri(u[1]), -1, 1))


shapes = st.fixed_dictionaries(
    {
        "layers": st.sampled_from([2, 4, 6]),
        "stacks": st.sampled_from([1, 2]),
        "kernel_size": st.sampled_from([1, 2, 3]),
        "residual_channels": st.sampled_from([1, 7, 16, 33]),
        "skip_channels": st.sampled_from([1, 16, 40]),
        "end_channels": st.sampled_from([3, 32, 65]),
        "classes": st.sampled_from([2, 17, 256]),
        "mixtures": st.sampled_from([0, 0, 1, 4]),
        "global_classes": st.sampled_from([0, 3]),
        "local_channels": st.sampled_from([0, 2]),
        "upsample": st.sampled_from([(), (3,), (2, 4)]),
    }
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(shapes, st.sampled_from([0.0, 0.7, 1.0, 1.5]), st.sampled_from([None, 0.5, 0.95, 1.0]), st.integers(0, 999))
def test_every_sampler_draws_what_the_equations_say(shape, temperature, top_p, seed):
    shape = shape | ({"upsample": ()} if not shape["local_channels"] else {})
    model, n = network(seed, peaked=3.0, **shape), 40
    u = np.random.default_rng(seed).random((1, n, 2 if shape["mixtures"] else 1))
    local = torch.randn(shape["local_channels"], -(-n // int(np.prod(shape["upsample"])))) * 0.5
    given = {"local": local} if shape["local_channels"] else {}
    given |= {"instrument": seed % 3} if shape["global_classes"] else {}
    how = {"temperature": temperature, "top_p": top_p}
    truth = reference(model, n, u[0], **given, **how)
    for method in METHODS:
        found = sample(model, n, given, uniforms=u, method=method, block=17, **how, **QUIET)[0].numpy()
        np.testing.assert_allclose(found, truth, atol=2e-4 if shape["mixtures"] else 0, err_msg=method)


@pytest.mark.parametrize("conditioned", [False, True])
def test_the_samplers_agree_over_thousands_of_samples(conditioned):
    model = network(classes=256, **{"local_channels": 2, "upsample": (2, 5)} if conditioned else {})
    local = torch.randn(2, 400)
    how = {"streams": 2, "block": 450, **QUIET}
    naive, cached, cpu = (
        sample(model, n, {"local": local[:, : n // 10]} if conditioned else None, method=method, **how)
        for method, n in (("naive", 500), ("cached", 4000), ("cpu", 4000))
    )
    assert torch.equal(cached, cpu)
    assert torch.equal(cpu[:, :450], naive[:, :450])  # the samples of the last frames depend on what follows
    assert len(cpu[0].unique()) > 50
    assert not torch.equal(cpu[0], cpu[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", ["cached", "cpu", "auto"])
def test_a_model_on_a_gpu_draws_what_it_draws_on_the_cpu(method, monkeypatch):
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", False)
    model, given = network(global_classes=2, local_channels=2, upsample=(2, 5)), {"local": torch.randn(2, 30)}
    given["instrument"] = torch.tensor([0, 1])
    truth = sample(model, 270, given, streams=2, method="cached", **QUIET)
    found = sample(model.cuda(), 270, given, streams=2, method=method, **QUIET)
    assert found.device.type == "cpu"
    assert torch.equal(found, truth)


def test_values_of_mixtures_agree():
    model = network(mixtures=5, peaked=2.0)
    cached, cpu = (sample(model, 2000, seed=3, method=method, **QUIET) for method in ("cached", "cpu"))
    assert cached.dtype == torch.float32
    assert cached.std() > 0.1
    assert (cached - cpu).abs().max() < 1e-4


def test_draws_follow_the_distribution():
    """Without a past that matters, frequencies are the head's probabilities."""
    model = network(kernel_size=1, layers=1, stacks=1, classes=8, peaked=0.0)
    model.head.linear.bias.copy_(torch.tensor([0.0, 1, 2, 0, -1, 1, 3, 0]))
    found = sample(model, 40_000, seed=1, **QUIET)[0].bincount(minlength=8) / 40_000
    assert (found - model.head.linear.bias.softmax(0)).abs().max() < 0.01


def test_blocks_streams_and_interruptions_change_nothing():
    model = network()
    whole = sample(model, 3000, streams=3, seed=5, **QUIET)
    parts = list(stream(model, 3000, streams=3, seed=5, block=700))
    assert [part.shape for part in parts] == [(3, 700)] * 4 + [(3, 200)]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert torch.equal(sample(model, 1234, streams=1, seed=5, **QUIET), whole[:1, :1234])


def test_numbers_of_a_seed_are_fixed():
    """The first of them, so that a new version draws what an old one drew."""
    numbers = Uniforms(7, 2, 3000, 1)
    assert numbers(0, 1)[:, 0, 0].tolist() == [NUMBERS[0], NUMBERS[1]]
    assert torch.equal(numbers(1000, 2100), numbers(0, 3000)[:, 1000:2100])
    for seed in (0, 7, 2**40 + 3):  # the seed, the stream and which 1,024 samples seed NumPy's generator
        expected = np.random.default_rng((seed, 1, 2)).random()
        assert Uniforms(seed, 2, 3000, 1)(2048, 2049)[1].item() == expected


NUMBERS = (0.625095466604667, 0.7701409510034741)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [3, 40, 200])
def test_an_opening_is_continued(method, length):
    """What follows an opening is what followed it when it was drawn."""
    model, n = network(), length + 50  # a receptive field of 15
    u = torch.rand(2, n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = sample(model, n, uniforms=u, streams=2, method="cached", **QUIET)
    rest = sample(
        model, 50, uniforms=u[:, length:], streams=2, opening=whole[:, :length], method=method, block=16, **QUIET
    )
    assert torch.equal(rest, whole[:, length:])


def test_conditioning_of_an_opening_goes_on():
    model = network(local_channels=2, upsample=(2, 5), global_classes=2)
    given = {"local": torch.randn(2, 2, 30), "instrument": torch.tensor([0, 1])}
    u = torch.rand(2, 300, dtype=torch.float64)
    whole = sample(model, 300, given, uniforms=u, streams=2, method="naive", **QUIET)
    for method in METHODS:
        rest = sample(
            model, 100, given, uniforms=u[:, 200:], streams=2, opening=whole[:, :200], method=method, block=33, **QUIET
        )
        assert torch.equal(rest, whole[:, 200:]), method


# ---- a score: the conditioning depends on the instrument


def renderer() -> ScoreWaveNet:
    """Instruments that differ in nothing but their partials."""
    torch.manual_seed(0)
    model = ScoreWaveNet(**SMALL | {"classes": 256}, upsample=(4, 5), instruments=("flute", "cello"))
    model = model.eval().requires_grad_(False)
    model.instruments.weight[1] = model.instruments.weight[0]
    model.upsample.partials.curves.weight *= 30  # as loud as learned ones
    model.head.linear.weight *= 8
    return model


CHORD = Score((Track((Note(60, 0.0, 0.02), Note(60, 0.02, 0.02), Note(67, 0.013, 1.0))),))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 499), max_size=4))
def test_blocks_of_a_scores_conditioning_are_the_whole(cuts):
    model, edges = renderer(), [0, *sorted(set(cuts)), 500]
    local, who = score_frames(CHORD, 16_000, 20, 500), torch.tensor([1, 0])
    blocks = Conditioning(model, 2, 500, local, who)
    found = torch.cat([blocks.block(a, b) for a, b in itertools.pairwise(edges)], dim=2)
    whole = model.condition(2, 500, local.expand(2, -1, -1), who)
    near = {"atol": 2e-4 * whole.abs().max().item(), "rtol": 0}  # loud partials amplify the rounding of their drift
    torch.testing.assert_close(found, whole, **near)
    torch.testing.assert_close(blocks.select(0).block(0, 500), whole[:1], **near)


@pytest.mark.parametrize("method", METHODS)
def test_each_stream_hears_the_partials_of_its_instrument(method):
    model, u = renderer(), torch.rand(1, 200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    how = {"method": method, "block": 70, **QUIET}
    local = score_frames(CHORD, 16_000, 20, 200)
    given = {"local": local, "instrument": torch.tensor([0, 1])}
    both = sample(model, 200, given, streams=2, uniforms=u.expand(2, -1, -1), **how)
    for i in (0, 1):
        alone = sample(model, 200, {"local": local, "instrument": i}, uniforms=u, **how)
        assert torch.equal(alone[0], both[i])
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize("precision", ["int16", "int8"])
@pytest.mark.parametrize("mixtures", [0, 4])
def test_reduced_precision_is_near(precision, mixtures):
    """The tolerances that the documentation states, on a peaked model at the reference width."""
    wide = {"residual_channels": 64, "skip_channels": 128, "end_channels": 256, "classes": 256}
    model = network(layers=20, peaked=3.0, mixtures=mixtures, **wide)
    drawn_ = sample(model, 600, streams=2, **QUIET)
    exact = total_variation(model, drawn_, precision="float32")
    assert exact.max() < 1e-5
    distance = total_variation(model, drawn_, precision=precision)
    assert distance.shape == drawn_.shape
    assert exact.mean() < distance.mean()
    assert distance.mean() < {"int16": 1e-3, "int8": 0.02}[precision]
    assert distance.max() < {"int16": 1e-2, "int8": 0.1}[precision]


def test_reduced_precision_draws():
    model = network()
    exact, near = (sample(model, 2000, precision=precision, **QUIET) for precision in ("float32", "int8"))
    assert exact.shape == near.shape
    frequencies = [codes[0].bincount(minlength=32) / 2000 for codes in (exact, near)]
    assert (frequencies[0] - frequencies[1]).abs().sum() / 2 < 0.1


def test_large_and_tiny_activations_survive_whole_numbers():
    """Scales follow each vector, so that neither overflows nor vanishes."""
    for factor in (1e-6, 1e6):
        model = network(layers=4, stacks=2)
        model.input.weight *= factor
        codes = sample(model, 100, **QUIET)
        assert total_variation(model, codes, precision="int8").mean() < 0.05


BAD = [
    ({"temperature": -1}, "temperature"),
    ({"temperature": float("nan")}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.5}, "top_p"),
    ({"n": 0}, "n must be"),
    ({"n": 2.5}, "n must be"),
    ({"streams": 0}, "streams"),
    ({"block": 0}, "block"),
    ({"seed": -1}, "seed"),
    ({"method": "fast"}, "no method 'fast' with precision 'float32'"),
    ({"precision": "int4"}, "no method 'cpu' with precision 'int4'"),
    ({"precision": "int8", "method": "cached"}, "'cached' with precision 'int8': .*'cpu' has int16, float32, int8"),
    ({"uniforms": torch.rand(1, 9)}, r"uniforms must be .*; got \(1, 9\)"),
    ({"uniforms": torch.ones(1, 10)}, r"\[0, 1\)"),
    ({"uniforms": torch.full((1, 10), float("nan"))}, r"\[0, 1\)"),
    ({"opening": torch.tensor([1, 32])}, r"codes must lie in 0\.\.31; got \[32\]"),
    ({"opening": torch.tensor([0.5])}, "codes must be int64"),
    ({"opening": torch.zeros(2, 3, dtype=torch.int64)}, r"opening must be \(length,\) or \(1, length\)"),
    ({"conditioning": {"instrument": 9}}, r"instrument must lie in 0\.\.2; got \[9\]"),
    ({"conditioning": {"instrument": -1}}, "instrument must lie"),
    ({"conditioning": {"instrument": 1.0}}, "instrument must be"),
    ({"conditioning": {"instrument": torch.tensor([0, 1])}}, "instrument must be"),
    ({"conditioning": {"instrument": "piano"}}, "instrument must be a number; got 'piano'"),
    ({"conditioning": {"instrument": None}}, "needs instrument conditioning"),
    ({"conditioning": {"local": torch.zeros(2, 4)}}, "local conditioning has shape"),
    ({"conditioning": {"local": torch.zeros(2, 2, 5)}}, "local conditioning has shape"),
    ({"conditioning": {"local": torch.zeros(3, 5)}}, "local conditioning has shape"),
    ({"conditioning": {"local": torch.full((2, 5), float("nan"))}}, "NaN"),
    ({"conditioning": {"melody": torch.zeros(2, 5)}}, "unexpected keyword argument 'melody'"),
    ({"conditioning": None}, "needs (local|instrument) conditioning"),
    ({"conditioning": torch.zeros(2, 5)}, "must be a mapping, not Tensor"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_requests_are_refused_by_name(wrong, message):
    model = network(local_channels=2, upsample=(2,), global_classes=3)
    right = {"local": torch.zeros(2, 5), "instrument": 1}
    request = {"n": 10, "conditioning": right, **wrong}
    if isinstance(wrong.get("conditioning"), dict):
        request["conditioning"] = right | wrong["conditioning"]
    with pytest.raises((ValueError, TypeError), match=message):
        stream(model, **request)  # at once, before the first block


def test_conditioning_that_the_model_does_not_know_is_refused():
    with pytest.raises(ValueError, match="takes no instrument conditioning"):
        sample(network(), 10, {"instrument": 1})


def test_a_model_with_nan_is_refused():
    model = network()
    model.output.bias[3] = float("nan")
    with pytest.raises(ValueError, match=r"output\.bias contains NaN"):
        sample(model, 10)
    with pytest.raises(TypeError, match="WaveNet"):
        sample(torch.nn.Linear(1, 1), 10)


def test_import_loads_no_compiler():
    code = "import sys, musicai.wavenet; print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_keyboard_stops_it_and_what_is_finished_stays(monkeypatch):
    from musicai.wavenet._fast.compiled import Compiled

    model, calls, block = network(), itertools.count(), Compiled.block

    def interrupted(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return block(*arguments)

    whole = sample(model, 1000, **QUIET)
    monkeypatch.setattr(Compiled, "block", interrupted)
    with pytest.warns(UserWarning, match="stopped after 300 of 1,000"):
        found = sample(model, 1000, block=100, **QUIET)
    assert torch.equal(found, whole[:, :300])


def test_no_gradient_and_no_training_state_is_left():
    model = network().requires_grad_(True).train()
    found = sample(model, 20, method="cached", **QUIET)
    assert not found.requires_grad
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_is_warned_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in METHODS:
            sample(network(), 20, method=method, **QUIET)
