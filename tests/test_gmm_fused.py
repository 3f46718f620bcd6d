"""The kernels for a GPU find the same moments as torch. Where there is no GPU, Triton's interpreter runs them."""

import os

import pytest
import torch

from musicai.gmm import em
from musicai.gmm._scale import blocks
from musicai.gmm._scale.blocks import FLOAT32, BlockEStep, Frame, e_step_over
from musicai.gmm._scale.rows import Data

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported


@pytest.fixture
def everywhere(monkeypatch):
    pytest.importorskip("triton", reason="triton is not installed; it exists for Linux")
    from musicai.gmm._scale import fused

    monkeypatch.setattr(fused, "PRECISION", "ieee" if DEVICE == "cpu" else fused.PRECISION)
    monkeypatch.setattr(fused, "TOGETHER", 32)  # several groups, the last of them incomplete
    monkeypatch.setattr(blocks, "have_tensor_cores", lambda rows, matrix: rows.dtype == matrix.dtype == torch.float32)


def mixture(k, d, kind, far=0.0, narrow=1.0):
    """Parameters, in float64, and rows, in float32, that are likely under them."""
    torch.manual_seed(0)
    means = 3 * torch.randn(k, d, dtype=torch.float64) + far
    covariances = narrow**2 * (0.5 + torch.rand(k, d, dtype=torch.float64))
    covariances = covariances[:, 0] if kind == "spherical" else covariances
    rows = means[torch.arange(101) % k] + narrow * torch.randn(101, d, dtype=torch.float64)
    factors = covariances.rsqrt()
    weights = torch.full((k,), 1 / k).double()
    values = (value.to(DEVICE) for value in (weights, means, covariances, factors))
    return em.Parameters(*values, kind), rows.float().to(DEVICE)


def both(parameters, rows):
    """The moments by the kernels and, in float64, by the definition."""
    level = torch.full((len(parameters.weights),), FLOAT32)
    x = rows.double().T
    ours = BlockEStep(parameters, Frame.of(x.mean(1), x.var(1)), level).moments(rows)
    joint = em.log_joint(x, parameters.weights, parameters.means, parameters.factors())
    responsibilities, log_likelihoods = em.e_step(joint)
    return ours, em.moments(x, responsibilities, full=False), log_likelihoods.sum()


def assert_close(parameters, rows, tolerance=4e-5):  # responsibilities may be rounded to 16 bits
    ours, exact, log_likelihood = both(parameters, rows)
    assert float(ours.log_likelihood) == pytest.approx(float(log_likelihood), rel=tolerance / 10)
    spread = rows.double().std(0).clamp(min=1e-30)
    count = exact.count.sum() / len(exact.count)
    assert (ours.count - exact.count).abs().max() < tolerance * count
    assert ((ours.mean - exact.mean) / spread * exact.count[:, None]).abs().max() < 10 * tolerance * count
    assert ((ours.scatter - exact.scatter) / spread.square()).abs().max() < 10 * tolerance * count


@pytest.mark.parametrize(
    ("k", "d"), [(1, 1), (3, 2), (16, 16), (5, 20), (64, 3), (65, 5), (130, 17), (2, 128), (40, 65)]
)
@pytest.mark.usefixtures("everywhere")
def test_the_moments_are_those_of_the_definition(k, d):
    assert_close(*mixture(k, d, "diag"))


@pytest.mark.usefixtures("everywhere")
def test_so_are_those_of_spherical_components():
    assert_close(*mixture(20, 6, "spherical"))
    assert_close(*mixture(66, 3, "spherical"))


@pytest.mark.parametrize("k", [4, 70])
@pytest.mark.usefixtures("everywhere")
def test_far_from_the_origin_and_with_narrow_components(k):
    assert_close(*mixture(k, 3, "diag", far=1000), 1e-4)
    assert_close(*mixture(k, 3, "diag", narrow=0.1), 2e-4)


@pytest.mark.usefixtures("everywhere")
def test_rows_may_have_any_strides_and_components_no_weight():
    parameters, rows = mixture(5, 7, "diag")
    parameters.weights[:] = torch.tensor([0.5, 0, 0.2, 0.3, 0])
    assert_close(parameters, rows.T.contiguous().T)
    assert_close(parameters, torch.stack([rows, rows], 2)[:, :, 0])


@pytest.mark.parametrize(("k", "name"), [(6, "sum_features"), (65, "sum_by_products")])
@pytest.mark.usefixtures("everywhere")
def test_a_step_over_all_the_data_takes_them(k, name, monkeypatch):
    from musicai.gmm._scale import fused

    parameters, rows = mixture(k, 4, "diag")
    calls, kernels = [], getattr(fused, name)
    monkeypatch.setattr(blocks, "SMALL", 0)
    monkeypatch.setattr(fused, name, lambda *given: calls.append(given) or kernels(*given))
    with Data(rows, full=False) as data:
        seen = e_step_over(data, parameters, 1e-6)
    assert calls
    assert float(seen.count.sum()) == pytest.approx(len(rows), rel=4e-5)


def test_what_the_kernels_are_not_for():
    rows, matrix = torch.zeros(9, 4), torch.zeros(3, 9)
    assert not blocks.have_tensor_cores(rows, matrix)
    if DEVICE == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        rows, matrix = rows.cuda(), matrix.cuda()
        assert blocks.have_tensor_cores(rows, matrix)
        assert not blocks.have_tensor_cores(rows, matrix.double())
        assert not blocks.have_tensor_cores(rows, torch.zeros(3, blocks.MOST_FEATURES + 1).cuda())
        assert not blocks.have_tensor_cores(rows[:0], matrix)
