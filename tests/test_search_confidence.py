"""How sure a match is: the regression grows with the evidence, and its probabilities mean what they say."""

from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from musicai.gmm import GaussianMixture
from musicai.search.confidence import KINDS, features, measure_margin, probability, threshold

SCRIPT = Path(__file__).parents[1] / "scripts" / "fit_search.py"


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_probabilities(kind):
    for score in (-200.0, 0.0, 20.0, 1e4):
        for margin in (-1.0, 0.0, 5.0, 1e4):
            assert 0 <= probability(score, margin, 12, 4248, kind) <= 1
    assert 0 < threshold(kind, 40) < 1


@pytest.mark.parametrize("kind", KINDS[:2])
def test_more_evidence_makes_surer(kind):
    margins = [probability(25.0, margin, 12, 4248, kind) for margin in (0, 1, 3, 9, 20)]
    assert margins == sorted(margins)
    sizes = [probability(25.0, 3.0, 12, size, kind) for size in (300, 100_000)]
    assert sizes[0] == pytest.approx(sizes[1], abs=0.02)  # what four other tunes reach already tells of the size
    assert probability(40.0, 20.0, 12, 4248, kind) > threshold(kind) > probability(10.0, 0.0, 12, 4248, kind)


def test_the_margin_is_over_the_mean_of_the_next_four():
    assert measure_margin(20.0, [14.0, 10.0, 8.0, 8.0, -50.0]) == 10.0
    assert measure_margin(20.0, [14.0, 10.0]) == 8.0  # a tiny index
    assert measure_margin(20.0, []) == 20.0
    assert measure_margin(-1.0, [-3.0, -9.0], "sound") == 2.0


def test_features_are_finite_at_the_edges():
    assert np.isfinite(features(0.0, -3.0, 0, 0)).all()


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind='dance' is not one of pitches, notes, sound"):
        probability(1.0, 1.0, 12, 10, "dance")


def test_errors_of_pitch_set_the_costs():
    """The mixture's chances: 80 % in tune, and 4 % for each of the slips -2, -1, 1, 2."""
    errors = np.repeat([0.0, -1, 1, -2, 2, -12, 12], [80, 4, 4, 4, 4, 2, 2])[:, None]
    start = np.array([[-12.0], [0.0], [-1], [1], [2], [-2], [12]])
    mixture = GaussianMixture(7, covariance_type="spherical", means_init=start, reg_covar=1e-3).fit(errors)
    costs = run_path(SCRIPT)["costs_of_errors"](mixture)
    found = np.exp([costs["right"], costs["slip"], costs["octave"]])
    np.testing.assert_allclose(found, [0.8, 0.04, 0.02], rtol=0.05)
