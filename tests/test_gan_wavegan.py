"""WaveGAN against the tables of its paper's appendix, and phase shuffle against its definition."""

import pytest
import torch
from torch import nn

from musicai.gan import PhaseShuffle, WaveGANDiscriminator, WaveGANGenerator

# Donahue et al. 2019, appendix D: (kernel size, output shape) of each layer, for a batch of n, with d and c.
GENERATOR = [
    ("dense", "(100, 256d)", "(n, 256d)"),
    ("layers.0", "(25, 16d, 8d)", "(n, 64, 8d)"),
    ("layers.1", "(25, 8d, 4d)", "(n, 256, 4d)"),
    ("layers.2", "(25, 4d, 2d)", "(n, 1024, 2d)"),
    ("layers.3", "(25, 2d, d)", "(n, 4096, d)"),
    ("layers.4", "(25, d, c)", "(n, 16384, c)"),
]
DISCRIMINATOR = [
    ("layers.0", "(25, c, d)", "(n, 4096, d)"),
    ("layers.1", "(25, d, 2d)", "(n, 1024, 2d)"),
    ("layers.2", "(25, 2d, 4d)", "(n, 256, 4d)"),
    ("layers.3", "(25, 4d, 8d)", "(n, 64, 8d)"),
    ("layers.4", "(25, 8d, 16d)", "(n, 16, 16d)"),
    ("dense", "(256d, 1)", "(n, 1)"),
]


def numbers(row, n, d, c):
    """The table's "(n, 16384, c)" as numbers."""
    values = {"n": n, "d": d, "c": c}

    def number(word):
        digits = word.rstrip("ndc")
        return int(digits or 1) * values.get(word[len(digits) :], 1)

    return tuple(number(word) for word in row.strip("()").split(", "))


def shapes_seen(model, x):
    """Layer name -> (its kernel as the paper writes it, its output as the paper writes it: time before channels)."""
    seen = {}

    def note(name):
        def hook(layer, _, out):
            w = tuple(layer.weight.shape)
            kernel = (w[1], w[0]) if isinstance(layer, nn.Linear) else (w[2], w[1], w[0])
            kernel = (w[2], w[0], w[1]) if isinstance(layer, nn.ConvTranspose1d) else kernel
            seen[name] = kernel, tuple(out.shape if out.ndim == 2 else out.mT.shape)

        return hook

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            layer.register_forward_hook(note(name))
    with torch.no_grad():
        model(x)
    return seen


@pytest.mark.parametrize(("d", "c"), [(64, 1), (8, 1), (3, 2), (1, 1)])
def test_every_layer_is_the_papers(d, c):
    generator, discriminator = WaveGANGenerator(d, c), WaveGANDiscriminator(d, c)
    seen = shapes_seen(generator, generator.latent(2))
    assert seen == {name: (numbers(kernel, 2, d, c), numbers(out, 2, d, c)) for name, kernel, out in GENERATOR}
    seen = shapes_seen(discriminator, torch.zeros(2, c, 16_384))
    assert seen == {name: (numbers(kernel, 2, d, c), numbers(out, 2, d, c)) for name, kernel, out in DISCRIMINATOR}
    for layer in [*generator.layers, *discriminator.layers]:
        assert layer.stride == (4,)


@pytest.mark.parametrize(("d", "c"), [(64, 1), (8, 1), (3, 2)])
def test_as_many_weights_as_the_tables_say(d, c):
    for model, table in [(WaveGANGenerator(d, c), GENERATOR), (WaveGANDiscriminator(d, c), DISCRIMINATOR)]:
        kernels = [numbers(kernel, 1, d, c) for _, kernel, _ in table]
        wanted = sum(torch.Size(kernel).numel() + kernel[-1] for kernel in kernels)  # and a bias an output
        assert sum(p.numel() for p in model.parameters()) == wanted
    if d == 64:
        assert wanted == 17_427_969  # as docstring and chapter say
        assert sum(p.numel() for p in WaveGANGenerator().parameters()) == 19_065_345


def test_shapes_can_be_had_without_numbers():
    """As in chapter 4; phase shuffle must not ask for the value of what it draws."""
    with torch.device("meta"):
        assert WaveGANDiscriminator(64)(WaveGANGenerator(64)(torch.empty(2, 100))).shape == (2, 1)


def test_sounds_are_within_one_and_z_is_uniform():
    torch.manual_seed(0)
    generator = WaveGANGenerator(2)
    z = generator.latent(500)
    assert z.shape == (500, 100)
    assert z.abs().max() <= 1
    assert z.mean().abs() < 0.01
    assert z.var().item() == pytest.approx(1 / 3, rel=0.02)
    assert generator(100 * z[:4]).abs().max() <= 1


def test_a_sample_hears_only_its_own_neighbourhood_of_the_first_layer():
    """An impulse in layer k reaches 25 samples of the next, 4 apart: nothing wraps around, nothing is shifted."""
    layer = WaveGANGenerator(1).layers[4]
    x = torch.zeros(1, 1, 4096)
    x[0, 0, 1000] = 1
    with torch.no_grad():
        heard = (layer(x) - layer(torch.zeros_like(x))).flatten().nonzero().flatten()
    assert heard.min() == 4000 - 11
    assert heard.max() == 4000 - 11 + 24


# ---- phase shuffle


def by_definition(x, shift):
    """Step t holds what was at t - shift, reflected at the ends without repeating them."""
    last = x.shape[-1] - 1
    where = [t - shift for t in range(last + 1)]
    where = [-t if t < 0 else 2 * last - t if t > last else t for t in where]
    return x[..., where]


def test_phase_shuffle_gives_every_shift_equally_often_and_nothing_else():
    x, counts = torch.randn(2, 3, 10), torch.zeros(5)
    shuffle = PhaseShuffle(2)
    torch.manual_seed(0)
    for _ in range(500):
        y = shuffle(x)
        matches = [torch.equal(y, by_definition(x, shift)) for shift in range(-2, 3)]
        assert sum(matches) == 1
        counts += torch.tensor(matches)
    assert counts.min() > 70


def test_phase_shuffle_is_still_in_eval_mode_and_for_zero():
    x = torch.randn(1, 1, 8)
    assert torch.equal(PhaseShuffle(2).eval()(x), x)
    assert torch.equal(PhaseShuffle(0)(x), x)


def test_the_first_four_layers_are_shuffled_in_training_only():
    torch.manual_seed(0)
    discriminator, x = WaveGANDiscriminator(2), torch.randn(1, 1, 16_384)
    assert [getattr(shuffle, "n", 0) for shuffle in discriminator.shuffles] == [2, 2, 2, 2, 0]
    with torch.no_grad():
        assert len({discriminator(x).item() for _ in range(8)}) > 1
        discriminator.eval()
        assert len({discriminator(x).item() for _ in range(8)}) == 1


def test_phase_shuffle_can_be_differentiated_twice():
    shuffle = PhaseShuffle(2)
    x = torch.randn(2, 1, 8, dtype=torch.float64, requires_grad=True)

    def shuffled(x):
        torch.manual_seed(1)
        return shuffle(x) ** 3

    assert torch.autograd.gradcheck(shuffled, x)
    assert torch.autograd.gradgradcheck(shuffled, x)


# ---- what does not fit

GENERATOR_INPUTS = [
    (torch.zeros(2, 99), r"z must have shape \(B, 100\), not \(2, 99\): draw it with generator.latent"),
    (torch.zeros(100), r"z must have shape \(B, 100\), not \(100,\)"),
]
DISCRIMINATOR_INPUTS = [
    (torch.zeros(2, 1, 8000), r"\(B, 1, 16384\), not \(2, 1, 8000\): pad or trim each sound to 16,384 samples"),
    (torch.zeros(2, 1, 16_383), "16,384 samples"),
    (torch.zeros(2, 1, 65_536), "16,384 samples"),
    (torch.zeros(2, 2, 16_384), r"not \(2, 2, 16384\)"),
    (torch.zeros(2, 16_384), r"not \(2, 16384\)"),
]


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [(WaveGANGenerator, *row) for row in GENERATOR_INPUTS]
    + [(WaveGANDiscriminator, *row) for row in DISCRIMINATOR_INPUTS],
)
def test_inputs_that_do_not_fit_are_refused_with_what_would(model, x, message):
    with pytest.raises(ValueError, match=message):
        model(1)(x)


def test_any_float_will_do_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert WaveGANDiscriminator(1)(torch.zeros(2, 1, 16_384, dtype=torch.bfloat16)).isfinite().all()


# ---- what is shipped


def test_the_shipped_generator_plays_drums():
    """Onset first, then decay, as drums do; no two alike. A generator before training has neither."""
    generator = WaveGANGenerator.from_pretrained("wavegan-drums")
    torch.manual_seed(0)
    with torch.no_grad():
        energy = generator(generator.latent(32)).square().flatten(1)
    assert energy.isfinite().all()
    early, late = energy[:, :4096].sum(1), energy[:, -4096:].sum(1)
    assert (early > 2 * late).float().mean() > 0.9
    assert 0.02 < energy.mean().sqrt() < 0.3
    assert torch.pdist(energy.sqrt()).min() > 0.1
