"""WaveNet: nothing looks ahead, the field is as wide as it says, and the network is what the paper's figure shows."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.composition.network import TuneConfig
from musicai.wavenet import (
    CausalConv1d,
    DilatedStack,
    ResidualBlock,
    WaveNet,
    WaveNetConfig,
    dilations_of,
    receptive_field,
)
from musicai.wavenet.layers import Upsample
from musicai.wavenet.rolls import RollConfig
from musicai.wavenet.scores import ScoreConfig

SMALL = {"residual_channels": 6, "skip_channels": 5, "end_channels": 7, "classes": 16}


def small(**settings) -> WaveNet:
    torch.manual_seed(0)
    model = WaveNet(WaveNetConfig(**{"layers": 4, "stacks": 2, **SMALL, **settings})).double()
    with torch.no_grad():
        for parameter in model.parameters():  # away from where an activation could hide a connection
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_causal_convolution_by_hand():
    conv = CausalConv1d(1, 1, kernel_size=2, dilation=3)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[10.0, 1.0]]]))
        conv.bias.fill_(0.5)
    y = conv(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]))
    assert y.tolist() == [[[1.5, 2.5, 3.5, 14.5, 25.5]]]  # y[t] = 10 x[t - 3] + x[t] + 0.5


def test_dilations_and_receptive_field():
    assert dilations_of(6, 2) == [1, 2, 4, 1, 2, 4]
    assert receptive_field([1, 2, 4, 8], 2) == 16
    assert receptive_field([1, 3], 3) == 9
    assert WaveNet().receptive_field == 2 * 1023 + 1
    with pytest.raises(ValueError, match="5 layers cannot be divided into 2 stacks"):
        dilations_of(5, 2)
    assert dilations_of(40)[-1] == 2**39
    for layers, stacks in ((41, 1), (10**9, 1), (10**9, 10**9)):  # refused before any list or power is made
        with pytest.raises(ValueError, match="stacks of equal depth, at most 40"):
            WaveNetConfig(layers=layers, stacks=stacks)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(0, 39))
def test_a_stack_sees_its_field_and_nothing_else(depth, stacks, kernel, moved):
    torch.manual_seed(depth + 10 * stacks + 100 * kernel)
    stack = DilatedStack(dilations_of(depth * stacks, stacks), 4, 4, kernel).double()
    x = torch.randn(1, 4, 40, dtype=torch.float64)
    other = x.clone()
    other[..., moved] += 1.0
    changed = (stack(x) != stack(other)).any(1)[0]
    last = moved + stack.receptive_field - 1
    assert not changed[:moved].any()
    assert not changed[last + 1 :].any()
    assert changed[moved]
    assert last >= 40 or changed[last]


@pytest.mark.parametrize("mixtures", [0, 3])
def test_model_never_sees_what_it_predicts(mixtures):
    model = small(mixtures=mixtures, skip_channels=24, end_channels=24)  # wide: so that no ReLU hides a change
    x = torch.randint(16, (1, 30)) if not mixtures else torch.rand(1, 30, dtype=torch.float64)
    other = x.clone()
    other[0, 12] = (x[0, 12] + 1) % 16 if not mixtures else -x[0, 12]
    changed = (model(model.previous(x)) != model(model.previous(other))).any(-1)[0]
    field = model.receptive_field
    assert changed.nonzero().flatten().tolist() == list(range(13, 13 + field))


def test_block_is_the_papers_equation():
    torch.manual_seed(1)
    block = ResidualBlock(3, 2, kernel_size=2, dilation=2, condition=4).double()
    x, h = torch.randn(2, 3, 9, dtype=torch.float64), torch.randn(2, 4, 9, dtype=torch.float64)
    out, skip = block(x, h)
    w, b, v = block.conv.weight, block.conv.bias, block.condition.weight[..., 0]
    for t in range(9):
        past = x[:, :, t - 2] if t >= 2 else torch.zeros(2, 3, dtype=torch.float64)
        a = past @ w[..., 0].T + x[:, :, t] @ w[..., 1].T + b + h[:, :, t] @ v.T
        z = torch.tanh(a[:, :3]) * torch.sigmoid(a[:, 3:])
        residual = x[:, :, t] + z @ block.residual.weight[..., 0].T + block.residual.bias
        torch.testing.assert_close(out[:, :, t], residual)
        torch.testing.assert_close(skip[:, :, t], z @ block.skip.weight[..., 0].T + block.skip.bias)


def plain_wavenet(weights: dict, codes: list[int], dilations: list[int], h: np.ndarray) -> np.ndarray:
    """Log probabilities (T, classes), written with loops and lists of the past: shares no code with the model."""
    sigmoid, out = lambda a: 1 / (1 + np.exp(-a)), []
    pasts = [[] for _ in dilations]
    for t, code in enumerate(codes):
        x, total = weights["input.weight"][code], 0.0
        for i, d in enumerate(dilations):
            name = f"stack.blocks.{i}."
            past = pasts[i][t - d] if t >= d else np.zeros_like(x)
            pasts[i].append(x)
            w = weights[name + "conv.weight"]
            a = w[..., 0] @ past + w[..., 1] @ x + weights[name + "conv.bias"]
            a = a + weights[name + "condition.weight"][..., 0] @ h[:, t]
            z = np.tanh(a[: len(x)]) * sigmoid(a[len(x) :])
            total = total + weights[name + "skip.weight"][..., 0] @ z + weights[name + "skip.bias"]
            if i < len(dilations) - 1:
                x = x + weights[name + "residual.weight"][..., 0] @ z + weights[name + "residual.bias"]
        e = np.maximum(weights["output.weight"][..., 0] @ np.maximum(total, 0) + weights["output.bias"], 0)
        logits = weights["head.linear.weight"] @ e + weights["head.linear.bias"]
        out.append(logits - np.log(np.exp(logits).sum()))
    return np.stack(out)


def test_model_equals_a_plain_definition():
    model = small(global_classes=3, global_channels=2, local_channels=2)
    codes, local, instrument = torch.randint(16, (1, 20)), torch.randn(1, 2, 20).double(), torch.tensor([2])
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    # Upsampling by nothing leaves the frames; the instrument is the same at all times.
    h = np.concatenate([local[0], weights["instruments.weight"][2][:, None].repeat(20, 1)])
    inputs = [8, *codes[0, :-1].tolist()]  # silence is the middle code
    expected = plain_wavenet(weights, inputs, [1, 2, 1, 2], h)
    found = model.log_prob(codes, local, instrument)[0].detach().numpy()
    np.testing.assert_allclose(found, expected[np.arange(20), codes[0]], rtol=1e-10)


def test_gradients_are_those_of_the_definition():
    model = small(layers=2, stacks=1, local_channels=1, upsample=(2,))
    codes, local = torch.randint(16, (1, 6)), torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: model.log_prob(codes, y), (local,))
    model.log_prob(codes, local).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_reference_shape_is_exact():
    """20 layers, kernel 2, dilations 1 to 512 twice, R = 64, S = 128, A = 256: the shape that samplers compare at."""
    shapes = {name: tuple(value.shape) for name, value in WaveNet().state_dict().items()}
    assert shapes["input.weight"] == (256, 64)
    assert shapes["stack.blocks.7.conv.weight"] == (128, 64, 2)
    assert shapes["stack.blocks.7.residual.weight"] == (64, 64, 1)
    assert shapes["stack.blocks.7.skip.weight"] == (128, 64, 1)
    assert shapes["output.weight"] == (256, 128, 1)
    assert shapes["head.linear.weight"] == (256, 256)
    assert [b.conv.dilation[0] for b in WaveNet().stack.blocks] == [2**i for i in range(10)] * 2


def test_probabilities_of_all_short_signals_sum_to_one():
    model = small(classes=4)
    grid = torch.cartesian_prod(*[torch.arange(4)] * 3)
    assert model.log_prob(grid).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("factors", [(2,), (3,), (4, 5), (1,)])
def test_upsampling_begins_as_linear_interpolation(factors):
    up = Upsample(2, factors)
    ramp = torch.arange(12.0).repeat(1, 2, 1)
    y = up(ramp)
    factor = math.prod(factors)
    assert y.shape == (1, 2, 12 * factor)
    inside = y[0, 0, 2 * factor : -2 * factor]
    torch.testing.assert_close(inside.diff(), torch.full_like(inside.diff(), 1 / factor), atol=1e-5, rtol=0)
    level = up(torch.ones(1, 2, 12))[..., 2 * factor : -2 * factor]
    torch.testing.assert_close(level, torch.ones_like(level))


def test_a_frame_of_conditioning_reaches_its_samples():
    model = small(local_channels=1, upsample=(4,))
    codes, local = torch.randint(16, (1, 40)), torch.zeros(1, 1, 10, dtype=torch.float64)
    other = local.clone()
    other[0, 0, 5] = 1.0
    changed = (model.log_prob(codes, local) != model.log_prob(codes, other))[0]
    assert changed[20:24].all()  # the samples of frame 5
    assert not changed[: 20 - 4].any()  # upsampling smears by less than a frame


def test_bad_conditioning_is_refused_by_name():
    model = small(global_classes=3, local_channels=2, upsample=(5,))
    codes, local, instrument = torch.zeros(1, 23, dtype=torch.int64), torch.zeros(1, 2, 5).double(), torch.tensor([0])
    assert model.log_prob(codes, local, instrument).shape == (1, 23)  # 23 samples need 5 frames of 5
    with pytest.raises(ValueError, match=r"local conditioning has shape \(1, 2, 4\); 23 samples in frames of 5 need"):
        model.log_prob(codes, local[..., :4], instrument)
    with pytest.raises(ValueError, match="local conditioning contains NaN"):
        model.log_prob(codes, local * math.nan, instrument)
    with pytest.raises(ValueError, match=r"instrument must lie in 0\.\.2; got \[3\]"):
        model.log_prob(codes, local, torch.tensor([3]))
    with pytest.raises(ValueError, match=r"instrument must lie in 0\.\.2; got \[-1\]"):
        model.log_prob(codes, local, torch.tensor([-1]))
    with pytest.raises(ValueError, match=r"instrument must be int64 of shape \(1,\)"):
        model.log_prob(codes, local, torch.tensor([0.0]))
    with pytest.raises(ValueError, match="this model needs local conditioning"):
        model.log_prob(codes, None, instrument)
    with pytest.raises(ValueError, match="this model takes no instrument conditioning"):
        small().log_prob(codes, None, instrument)


def test_bad_inputs_are_refused_by_name():
    with pytest.raises(ValueError, match=r"codes must lie in 0\.\.15; got \[16\]"):
        small().log_prob(torch.tensor([[3, 16]]))
    with pytest.raises(ValueError, match=r"codes must be int64; got torch.float32"):
        small()(torch.zeros(1, 4))
    assert small(mixtures=2).log_prob(torch.tensor([[0.0, math.nan]], dtype=torch.float64)).isnan().any()  # in sight
    with pytest.raises(ValueError, match="kernel_size must be 1 or more"):
        WaveNetConfig(kernel_size=0)


@pytest.mark.parametrize("config", [WaveNetConfig, ScoreConfig, RollConfig, TuneConfig])
def test_fields_of_a_config_have_the_type_of_their_defaults(config):
    wrong = {int: ["x", None, 2.5, True], float: ["x", None, True], bool: ["x", 1], tuple: ["x", 5, (None,), (2.5,)]}
    for field in fields(config):
        for value in wrong[type(field.default)]:
            with pytest.raises(ValueError, match=f"^{field.name} must be of type .*; got"):
                config(**{field.name: value})
    assert config(layers=np.int64(8)).layers == 8


def test_saved_and_loaded(tmp_path):
    model = small(global_classes=2, local_channels=1, upsample=(2, 2)).float()
    model.save_pretrained(tmp_path)
    other = WaveNet.from_pretrained(tmp_path)
    assert other.config == model.config
    codes, local, instrument = torch.randint(16, (2, 8)), torch.randn(2, 1, 2), torch.tensor([0, 1])
    torch.testing.assert_close(other.log_prob(codes, local, instrument), model.log_prob(codes, local, instrument))


def test_learns_a_pattern():
    torch.manual_seed(0)
    model = WaveNet(WaveNetConfig(layers=3, stacks=1, **SMALL))
    codes = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6]).repeat(4, 8)  # 1 is followed by 4 or by 5
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    for _ in range(60):
        loss = -model.log_prob(codes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert 0 < loss < 0.2
