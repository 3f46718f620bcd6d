"""Where EM starts: given parameters, or one of scikit-learn's four ways, drawn from the same random numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn.functional import one_hot

from musicai.gmm import processes
from musicai.gmm.data import Data, as_tensor, sum_up
from musicai.gmm.steps import (
    Moments,
    Parameters,
    at_least_tiny,
    covariances_of_factors,
    estimates,
    factors_of_precisions,
    features,
    moments_from_sums,
    n_features,
    precisions_cholesky,
    squares,
    symmetric,
)

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data")
SAMPLE = 2**18  # rows that k-means sees at most


def start(data: Data, settings: dict[str, Any], random_state: np.random.RandomState) -> Parameters:
    """The parameters before the first step. settings: those of the estimator.

    Raises ValueError when given parameters have the wrong shape, or are no weights or no precisions.
    """
    k, kind = settings["n_components"], settings["covariance_type"]
    given = given_parameters(settings, data.width, data.device)
    counts = means = covariances = None
    if len(given) < 3:
        seen = _moments(data, settings["init_params"], k, kind, random_state)
        counts, means, covariances = estimates(seen, kind, settings["reg_covar"])
    weights = given["weights"] if "weights" in given else counts / data.rows
    means = given.get("means", means)
    if "precisions" in given:
        factors = factors_of_precisions(given["precisions"], kind in ("full", "tied"))
        covariances = covariances_of_factors(factors, kind in ("full", "tied"))
    else:
        factors = precisions_cholesky(covariances, kind in ("full", "tied"))
    return Parameters(weights, means, covariances, factors, kind)


def random_numbers(data: Data, seed: int | np.random.RandomState | None) -> np.random.RandomState:
    """A source of random numbers; in every process, the same as in process 0."""
    random_state = check_random_state(seed)
    if data.world == 1:
        return random_state
    kind, keys, *rest = random_state.get_state()
    state = torch.tensor([*keys.tolist(), *rest], dtype=torch.float64, device=data.device)
    *keys, position, cached, gaussian = processes.from_first(state).tolist()
    common = np.random.RandomState()
    common.set_state((kind, np.array(keys, np.uint32), int(position), int(cached), gaussian))
    return common


def _moments(data: Data, how: str, k: int, kind: str, random_state: np.random.RandomState) -> Moments:
    full, tied = kind in ("full", "tied"), kind == "tied"
    if how == "random":
        return _random(data, k, full, random_state)
    if how == "kmeans":
        return _kmeans(data, k, full, random_state)
    if how == "random_from_data":
        chosen = random_state.choice(data.rows, k, replace=False)
    else:
        numbers = _sample(data, k, random_state)
        _, chosen = kmeans_plusplus(data.take(numbers).cpu().numpy(), k, random_state=random_state)
        chosen = numbers[chosen]
    rising, back = np.unique(chosen, return_inverse=True)
    means = data.take(rising).double()[torch.from_numpy(back).to(data.device)]
    scatter = means.new_zeros(k, *(data.width,) * (2 if full else 1))
    if tied:  # scikit-learn's start: all the rows' squares, shared by the few rows chosen
        labels = torch.zeros(data.rows, dtype=torch.int64, device=data.device)
        every = data.moments(lambda rows, n: _labelled(data, rows, labels[n : n + len(rows)], 1, True))
        total = every.scatter[0] + every.count * squares(every.mean, True)[0]
        scatter[0] = total - squares(means, True).sum(0)
    return Moments(torch.ones_like(means[:, 0]), means, scatter)


def _sample(data: Data, k: int, random_state: np.random.RandomState) -> np.ndarray:
    """The numbers of all rows, or of as many as k-means should see."""
    limit = max(SAMPLE, 64 * k)
    if data.rows <= limit:
        return np.arange(data.rows)
    return np.unique(random_state.randint(data.rows, size=limit))


def _kmeans(data: Data, k: int, full: bool, random_state: np.random.RandomState) -> Moments:
    numbers = _sample(data, k, random_state)
    found = KMeans(k, n_init=1, random_state=random_state).fit(data.take(numbers).cpu().numpy())
    if len(numbers) == data.rows:
        labels = torch.from_numpy(found.labels_).to(data.device, torch.int64)
        return data.moments(lambda rows, n: _labelled(data, rows, labels[n : n + len(rows)], k, full))
    centres = torch.from_numpy(found.cluster_centers_).to(data.device, torch.float64)
    return data.moments(lambda rows, _: _labelled(data, rows, torch.cdist(rows.double(), centres).argmin(1), k, full))


def _labelled(data: Data, rows: Tensor, labels: Tensor, k: int, full: bool) -> Moments:
    """The moments of clusters; squares are taken about each cluster's own mean."""
    d, seen = data.width, []
    for x, labels_of_x in zip(_blocks(data, rows, full), labels.split(_block(data, full)), strict=True):
        belongs = one_hot(labels_of_x, k).double()  # (rows, K)
        count = belongs.sum(0)
        mean = (x @ belongs / at_least_tiny(count)).T
        second = (features(x - mean.T[:, labels_of_x], full) @ belongs)[: -1 - d].T
        seen.append(Moments(count, mean, symmetric(second, d) if full else second))
    return data.frame.moments_from(sum_up(iter(seen)))


def _block(data: Data, full: bool) -> int:
    return max(64, 2**20 // n_features(data.width, full))


def _blocks(data: Data, rows: Tensor, full: bool) -> Iterator[Tensor]:
    """Columns in the frame, (D, rows), few at a time: their products must fit into memory."""
    for part in rows.split(_block(data, full)):
        yield data.frame.rows_into(part, part.new_empty(data.width, len(part), dtype=torch.float64))


def _random(data: Data, k: int, full: bool, random_state: np.random.RandomState) -> Moments:
    """Random responsibilities: every component starts near the mean of everything."""
    sums, drawn, d = 0, 0, data.width
    for rows, number in data.pieces():
        if number > drawn:  # rows of another process
            random_state.uniform(size=(number - drawn, k))
        shares = random_state.uniform(size=(len(rows), k))
        drawn = number + len(rows)
        shares = torch.from_numpy(shares / shares.sum(1, keepdims=True)).to(data.device)
        for x, shares_of_x in zip(_blocks(data, rows, full), shares.split(_block(data, full)), strict=True):
            sums = sums + features(x, full) @ shares_of_x
    if data.world > 1:
        sums = sum(part for (part,) in processes.gather([sums]))
    return data.frame.moments_from(moments_from_sums(sums, d, full))


def given_parameters(settings: dict[str, Any], d: int, device: torch.device) -> dict[str, Tensor]:
    """Those of weights, means and precisions that were given, checked, in float64."""
    k, kind = settings["n_components"], settings["covariance_type"]
    shapes = {"weights": (k,), "means": (k, d)}
    shapes["precisions"] = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[kind]
    given = {
        name: as_tensor(settings[f"{name}_init"]).to(device, torch.float64)
        for name in shapes
        if settings[f"{name}_init"] is not None
    }
    for name, values in given.items():
        said = f"{kind} precision" if name == "precisions" else name
        if tuple(values.shape) != shapes[name]:
            raise ValueError(
                f"The parameter '{said}' should have the shape of {shapes[name]}, but got {tuple(values.shape)}"
            )
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"The parameter '{said}' contains NaN or infinity")
    if "weights" in given:
        _check_weights(given["weights"])
    if "precisions" in given:
        _check_precisions(given["precisions"], kind)
    return given


def _check_weights(weights: Tensor) -> None:
    if bool((weights < 0).any()) or bool((weights > 1).any()):
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{float(weights.max()):.5f}, min value {float(weights.min()):.5f}"
        )
    if abs(float(weights.sum()) - 1) > 1e-6:
        raise ValueError(
            f"The parameter 'weights' should be normalized, but got sum(weights) = {float(weights.sum()):.5f}"
        )


def _check_precisions(precisions: Tensor, kind: str) -> None:
    if kind in ("diag", "spherical"):
        if not bool((precisions > 0).all()):
            raise ValueError(f"'{kind} precision' should be positive")
    elif not torch.allclose(precisions, precisions.mT, rtol=1e-5) or not bool(
        (torch.linalg.eigvalsh(precisions) > 0).all()
    ):
        raise ValueError(f"'{kind} precision' should be symmetric, positive-definite")
