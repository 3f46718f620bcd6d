"""WaveGAN's layers against torch's own: values, first and second derivatives, and what they do under autocast."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import leaky_relu

from musicai import gan
from musicai.gan import _strided, wavegan

KINDS = {"down": (nn.Conv1d, _strided.Conv1d), "up": (nn.ConvTranspose1d, _strided.ConvTranspose1d)}
SIZES = [(1, 3), (3, 1), (4, 6)]


def both(kind, inputs=2, outputs=3):
    """The same weights in torch's layer and in ours."""
    plain, ours = KINDS[kind]
    how = {"kernel_size": 25, "stride": 4, "padding": 11} | ({"output_padding": 1} if kind == "up" else {})
    layer, same = plain(inputs, outputs, **how).double(), ours(inputs, outputs, **how).double()
    same.load_state_dict(layer.state_dict())
    return layer, same


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_values_as_torchs_layer(kind, sizes):
    layer, same = both(kind, *sizes)
    x = torch.randn(2, sizes[0], 32, dtype=torch.float64)
    torch.testing.assert_close(same(x), layer(x))
    torch.testing.assert_close(same(x.mT.contiguous().mT), layer(x))  # channels last in memory


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_right_twice(kind):
    _, same = both(kind, 1, 2)
    inputs = torch.randn(1, 1, 8, dtype=torch.float64, requires_grad=True), same.weight, same.bias

    def call(x, weight, bias):
        return torch.func.functional_call(same, {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_leaky_relu_is_torchs_and_its_second_derivative_is_nothing():
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(_strided.leaky_relu(x, 0.3), leaky_relu(x, 0.3))
    assert torch.autograd.gradcheck(_strided.leaky_relu, x)
    assert torch.autograd.gradgradcheck(_strided.leaky_relu, x)
    (slope,) = torch.autograd.grad(_strided.leaky_relu(x).sum(), x, create_graph=True)
    assert not slope.requires_grad  # so no second pass through the network is computed with zeros


def gradients(discriminator, real, fake, penalty):
    discriminator.zero_grad()
    torch.manual_seed(1)  # for the interpolates and the phase shuffle
    loss = discriminator(real).mean() - discriminator(fake).mean()
    (loss + 10 * penalty(discriminator, real, fake)).backward()
    return [p.grad.clone() for p in discriminator.parameters()]


@pytest.mark.parametrize("penalty", [gan.gradient_penalty, gan.r1_r2])
def test_a_penalised_step_has_the_gradients_that_torchs_layers_give(monkeypatch, penalty):
    torch.manual_seed(0)
    discriminator = gan.WaveGANDiscriminator(2).double()
    real, fake = torch.randn(2, 3, 1, 16_384, dtype=torch.float64) / 4
    ours = gradients(discriminator, real, fake, penalty)
    plain = copy.deepcopy(discriminator)
    for layer in plain.layers:
        layer.__class__ = nn.Conv1d
    monkeypatch.setattr(wavegan, "leaky_relu", leaky_relu)
    for mine, theirs in zip(ours, gradients(plain, real, fake, penalty), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_it_computes_in_half_precision_and_learns_in_full(kind):
    _, same = both(kind)
    same.float()
    x = torch.randn(2, 2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = same(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), same(x), rtol=0.05, atol=0.05)
    y.float().square().sum().backward()
    assert same.weight.grad.dtype == torch.float32
