"""`GaussianMixture`: scikit-learn's interface, EM in torch. Chapter 3."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from musicai.gmm.attributes import Attributes, Kind
from musicai.gmm.checks import check_enough, check_rows, check_settings
from musicai.gmm.data import Data, is_shards, shards_of
from musicai.gmm.em import blend, e_pass, memory, needed_for
from musicai.gmm.saving import Saving
from musicai.gmm.scoring import Scoring
from musicai.gmm.search import Climb, Search
from musicai.gmm.start import random_numbers, start
from musicai.gmm.steps import m_step

Array = np.ndarray | Tensor


class GaussianMixture(Scoring, Saving, Attributes, DensityMixin, BaseEstimator):
    """A mixture of Gaussians, fitted by EM: `sklearn.mixture.GaussianMixture`, faster, and at any size.

    >>> import torch
    >>> x = torch.cat([torch.randn(500, 2), torch.randn(500, 2) + 8])
    >>> mixture = GaussianMixture(2, random_state=0).fit(x)
    >>> mixture.weights_
    tensor([0.5000, 0.5000])

    Parameters and attributes are scikit-learn's, and so is the result from the same start (also from the same
    `random_state`). NumPy or torch in, the same kind out, on the device of the data. What is more:

    - `fit` takes shards that do not fit into memory (a list of matrices or memory maps, or a function that returns an
      iterator of them), and under `torchrun` sums over all processes' rows.
    - `fit(..., callback=, checkpoint=)` shows each step and survives an interruption; `partial_fit` learns from a
      stream; `save` and `load` keep a mixture.
    - Float32 data are computed in float32 only where that is as good; every sum over the rows is taken in float64.

    Args:
        n_components: K.
        covariance_type: "full", "tied", "diag" or "spherical".
        tol: EM stops when the mean log-likelihood changes by less.
        reg_covar: added to every variance.
        max_iter: steps at most.
        n_init: starts, of which the best is kept.
        init_params: "kmeans" (of at most 2**18 rows), "k-means++", "random" or "random_from_data".
        weights_init: (K,), in place of what `init_params` finds.
        means_init: (K, D), likewise.
        precisions_init: in the shape of the fitted precisions, likewise.
        random_state: seed.
        warm_start: go on from the last fit.
        verbose: above 0, a progress bar.
        verbose_interval: steps between its renewals.

    Attributes:
        weights_: (K,).
        means_: (K, D).
        covariances_: "full" (K, D, D), "tied" (D, D), "diag" (K, D), "spherical" (K,).
        precisions_: their inverses.
        precisions_cholesky_: Cholesky factors of the precisions.
        converged_: whether EM stopped because of `tol`.
        n_iter_: its steps.
        lower_bound_: the mean log-likelihood at the last step.
        lower_bounds_: at each step.

    Chapter 3.
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Array | None = None,
        means_init: Array | None = None,
        precisions_init: Array | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def fit(
        self,
        X: Any,
        y: None = None,
        *,
        callback: Callable[["GaussianMixture"], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> "GaussianMixture":
        """Fit to X by EM: `n_init` times at most `max_iter` steps; the best is kept.

        Args:
            X: (rows, features), or shards: a list of such matrices, or a function that returns an iterator of them, the
                same rows in the same order every time.
            callback: called with the mixture after each step, its attributes set.
            checkpoint: a file to save to every few seconds and when interrupted; the same call goes on from it.

        Raises ValueError for bad settings or data, and when a component collapses (see `reg_covar`). Warns
        (ConvergenceWarning) when no start converged.
        """
        check_settings(self.get_params())
        vars(self).pop("n_batches_", None)
        with self._data(X) as (data, kind):
            best = Search(self, data, kind, callback, checkpoint).best()
        self._keep(best, kind)
        if not best.converged and self.max_iter > 0:
            message = "Best performing initialization did not converge. Try different init parameters, or increase "
            warnings.warn(message + "max_iter, tol, or check for degenerate data.", ConvergenceWarning, stacklevel=2)
        return self

    def fit_predict(self, X: Any, y: None = None) -> Array:
        """`fit(X)`, then `predict(X)`."""
        return self.fit(X).predict(X)

    def partial_fit(
        self, X: Array, y: None = None, *, decay: float = 0.6, rate: float | None = None
    ) -> "GaussianMixture":
        """One step of online EM with the next batch X (rows, features) of a stream; the first batch gives the start.

        decay: the n-th batch (`n_batches_`) is (n + 1) ** -decay of what the mixture knows then; above 0.5, at most 1.
        rate: that share itself, for one that forgets at a constant pace, or that was fitted before and shall change
        little. Cappé and Moulines (2009).

        Raises ValueError for a decay with which online EM does not converge, and as `fit` does.
        """
        check_settings(self.get_params())
        if not 0.5 < decay <= 1:
            raise ValueError(f"decay must be above 0.5 and at most 1, or online EM does not converge; got {decay!r}")
        fresh = not hasattr(self, "means_")
        rows = check_rows(self, X, fitting=fresh)
        with Data(rows) as data:
            before = self._parameters(rows.device) if not fresh else self._start(data)
            batch, sums = e_pass(data, before, needed_for(data, before))
        self.n_batches_ = getattr(self, "n_batches_", 0) + 1
        rate = (self.n_batches_ + 1) ** -decay if rate is None else rate
        known = blend(memory(before, self.reg_covar), batch * (1 / data.rows), rate)
        bounds = [*getattr(self, "lower_bounds_", []), float(sums.log_likelihood / sums.rows)]
        self._keep(Climb(m_step(known, self.covariance_type, self.reg_covar), bounds, False), Kind.of(X, rows.dtype))
        return self

    def _start(self, data: Data):
        return start(data, self.get_params(), random_numbers(data, self.random_state))

    def _keep(self, climb: Climb, kind: Kind) -> None:
        """Set what a fit leaves behind."""
        self._set_parameters(climb.parameters, kind)
        self.converged_, self.n_iter_ = climb.converged, len(climb.lower_bounds)
        self.lower_bounds_, self.lower_bound_ = list(climb.lower_bounds), climb.lower_bound

    @contextmanager
    def _data(self, X: Any) -> Iterator[tuple[Data, Kind]]:
        """X as checked rows to go through again and again, and its kind."""
        shards = is_shards(X)
        with Data(X if shards else check_rows(self, X, fitting=True)) as data:
            if shards:
                check_enough(self, data.rows)
                self.n_features_in_ = data.width
                vars(self).pop("feature_names_in_", None)
            yield data, Kind.of(next(iter(shards_of(X))) if shards else X, data.dtype)
