"""Starting points of EM: scikit-learn's, found in a sample of the rows."""

from contextlib import suppress
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import sklearn.mixture
import torch
import torch.distributed as dist
from sklearn.utils import check_random_state
from torch import Tensor

from musicai.gmm import em
from musicai.gmm._scale.rows import Data, as_tensor, in_pieces
from musicai.gmm.em import Moments, Parameters

SAMPLE = 2**18  # the most rows that are looked at
GIVEN = ("weights", "means", "precisions")


def start(data: Data, settings: dict, random_state: np.random.RandomState) -> Parameters:
    """Find the parameters before the first step, given the settings of the estimator.

    Raises ValueError if given parameters have the wrong shape, if weights or precisions are invalid, or if the data
    collapse at once.
    """
    kind, numbers = settings["covariance_type"], np.arange(data.rows)
    if data.rows > SAMPLE:
        numbers = np.unique(random_state.randint(data.rows, size=SAMPLE))
    values = {name: settings[f"{name}_init"] for name in GIVEN if settings[f"{name}_init"] is not None}
    given = {name: as_tensor(value).to("cpu", torch.float64) for name, value in values.items()}
    changed = {f"{name}_init": x.numpy() for name, x in given.items()} | {"random_state": random_state}
    rows, theirs = data.take(numbers), _Start(**settings | changed | {"warm_start": False})
    with suppress(_Started):
        theirs.fit(rows.cpu().numpy())
    given = {name: x.to(data.device) for name, x in given.items()}
    if "precisions" in given:
        half = em.precisions_cholesky(given.pop("precisions"), data.full)  # a factor of the covariances
        given["covariances"] = half @ half.mT if data.full else half.square()
        given["precisions_cholesky"] = em.precisions_cholesky(given["covariances"], data.full)
    if theirs.responsibilities is None:  # everything is given
        return Parameters(**given, covariance_type=kind)
    seen = _moments(data, rows, as_tensor(theirs.responsibilities).to(rows.device), kind == "tied")
    reg_covar = 1.0 if "covariances" in given else settings["reg_covar"]  # covariances that are not used may collapse
    found = em.m_step(seen, kind, reg_covar)
    weights = found.weights * float(seen.count.sum() / len(rows))  # as in scikit-learn, if few rows were chosen
    return replace(found, **{"weights": weights} | given)


def random_numbers(data: Data, seed: int | np.random.RandomState | None) -> np.random.RandomState:
    """Make a source of random numbers: in every process, the same one as in process 0."""
    shared = [check_random_state(seed)]
    if data.world > 1:
        dist.broadcast_object_list(shared, src=0)
    return shared[0]


class _Started(Exception):
    """Ends scikit-learn's fit where its EM would begin."""


class _Start(sklearn.mixture.GaussianMixture):
    """Checks what is given and finds responsibilities, but leaves the moments to us: theirs lose digits far from 0."""

    def _initialize(self, X: np.ndarray, resp: np.ndarray | None, **_) -> None:
        self.responsibilities = resp
        raise _Started


def _moments(data: Data, rows: Tensor, responsibilities: Tensor, tied: bool) -> Moments:
    pieces = in_pieces(rows, responsibilities.shape[1])
    pieces = zip(pieces, responsibilities.split(len(pieces[0])), strict=True)
    sums = data.workers.map(lambda piece: em.moments(*(x.double().T for x in piece), data.full), pieces)
    seen, every = reduce(add, sums), data.total
    if tied and float(seen.count.sum()) < len(rows) - 0.5:
        # As in scikit-learn, the few rows that were chosen share the squares of all.
        squares = every.scatter[0] + every.count * em.squares(every.mean, True)[0]
        seen.scatter[:] = 0
        seen.scatter[0] = squares - em.squares(seen.mean, True).sum(0)
    return seen
