"""Training, the GAN's game and EM end under `torchrun` where they do in one process; a killed one ends the other."""

import warnings
from pathlib import Path

import pytest
import torch
from gan_helpers import ranks as gan
from gmm_helpers.ranks import STARTS, assert_same, data, fitted
from sklearn.exceptions import ConvergenceWarning
from train_helpers.ranks import STEPS, train
from train_helpers.torchrun import numbers, torchrun

from musicai.gmm import GaussianMixture
from musicai.train.checkpoint import read_checkpoint

HELPERS = Path(__file__).parent / "train_helpers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of one process, of two, and of one that became two half-way."""
    folder = tmp_path_factory.mktemp("ranks")
    train(folder / "one")
    train(folder / "one_then_two", steps=STEPS // 2)
    gan.train(folder / "gan in one")
    done = torchrun(HELPERS / "all_ranks.py", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", ["two", "one_then_two"])
def test_two_processes_end_where_one_does_to_1e6(folder, name):
    one, info = read_checkpoint(folder / "one")
    other, other_info = read_checkpoint(folder / name)
    assert info == other_info
    assert info["step"] == STEPS
    ours, theirs = numbers(one), numbers(other)
    assert ours.keys() == theirs.keys()
    for part in ("ema.generator.", "critic.0.weight", "g_optimizer.state.", "fit.history.grad/c_optimizer"):
        assert any(part in key for key in ours), part
    for key in ours:
        assert torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-6, equal_nan=True), key


def test_only_rank_0_calls_back_and_shows_progress(folder):
    assert (folder / "said-0").read_text().startswith("[5, 10, 12] ")
    assert f"{STEPS}/{STEPS}" in (folder / "said-0").read_text()
    assert (folder / "said-1").read_text() == "[] "


def test_a_gans_game_ends_where_it_does_in_one_process(folder):
    one, info = read_checkpoint(folder / "gan in one")
    two, other_info = read_checkpoint(folder / "gan")
    assert info == other_info
    assert info["step"] == gan.STEPS
    assert one["gan"] == two["gan"] == {"steps": gan.STEPS}
    ours, theirs = numbers(one), numbers(two)
    assert ours.keys() == theirs.keys()
    for part in ("ema.generator.", "discriminator.dense.weight", "g_optimizer.state.", "fit.history.penalty"):
        assert any(part in key for key in ours), part
    for key in ours:  # Adam divides by a gradient's size: a last bit there is up to a step's length here
        assert torch.allclose(ours[key], theirs[key], rtol=1e-4, atol=2e-6, equal_nan=True), key


@pytest.mark.parametrize(
    ("name", "kind", "rows", "init"),
    [
        *(("own", "diag", None, init) for init in STARTS),  # the start sees only rows that were gathered
        ("whole", "full", None, "kmeans"),
        ("shards", "tied", None, "k-means++"),
        ("few", "full", 300, "random"),
        ("none", "spherical", 300, "random_from_data"),
    ],
)
def test_em_in_two_processes_equals_one(folder, name, kind, rows, init):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # short fits are allowed here
        assert_same(GaussianMixture.load(folder / f"{name}-{init}"), fitted(data()[:rows], kind, init))


def test_a_killed_process_ends_the_other_with_an_error_and_the_checkpoint_is_whole(tmp_path):
    done = torchrun(HELPERS / "ranks.py", tmp_path, "kill")
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    parts, info = read_checkpoint(tmp_path / "killed")
    assert info["step"] == 6, "it died in step 8, and saved every 3"
    assert all(torch.isfinite(tensor).all() for tensor in parts["critic"].values())
    assert train(tmp_path / "killed").finished, "one process can go on with it"
