"""`GaussianMixture`: scikit-learn's estimator, with EM in torch. Chapter 3."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os.path import expanduser
from pathlib import Path
from typing import Self

import numpy as np
import sklearn.mixture
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musicai.gmm._scale.blocks import FLOAT64, BlockEStep, Frame, e_step_over, level_needed
from musicai.gmm._scale.rows import Data, as_kind, as_tensor, check_rows, in_pieces, is_shards, shards_of
from musicai.gmm._scale.starts import random_numbers, start
from musicai.gmm.em import NAMES, Parameters, covariances_of_factors, e_step, m_step, moments_of
from musicai.threads import Workers, one_core
from musicai.train.checkpoint import CheckpointError, read_checkpoint, save_checkpoint

Array = np.ndarray | Tensor


class GaussianMixture(sklearn.mixture.GaussianMixture):
    """A mixture of Gaussians, fitted by EM: `sklearn.mixture.GaussianMixture`, but faster and for data of any size.

    >>> x = torch.cat([torch.randn(500, 2), torch.randn(500, 2) + 8])
    >>> mixture = GaussianMixture(2, random_state=0).fit(x)
    >>> mixture.weights_
    tensor([0.5000, 0.5000])

    Parameters and attributes are scikit-learn's, and so is the result from the same start (or the same `random_state`).
    NumPy or torch goes in, and the same kind comes out, on the device of the data. It also does more:

    - `fit` takes shards that do not fit into memory (a list of matrices or memory maps, or a function that returns an
      iterator over them), and under `torchrun` it sums over all processes' rows.
    - `fit(..., callback=)` shows each step; `partial_fit` learns from a stream; `save` and `load` keep a mixture in a
      file.
    - Float32 data are processed in float32 only where that is accurate enough; every sum over rows is in float64.

    Args:
        n_components: K.
        covariance_type: "full", "tied", "diag" or "spherical".
        tol: EM stops when the mean log-likelihood changes by less than this.
        reg_covar: added to every variance.
        max_iter: the largest number of EM steps.
        n_init: number of starts; the best result is kept.
        init_params: "kmeans" (on at most 2**18 rows), "k-means++", "random" or "random_from_data".
        weights_init: (K,), used instead of what `init_params` finds.
        means_init: (K, D), likewise.
        precisions_init: likewise, in the shape of the fitted precisions.
        random_state: seed.
        warm_start: whether to continue from the last fit.
        verbose: if above 0, print the progress of EM.
        verbose_interval: number of steps between two lines of progress.

    Attributes:
        weights_: (K,).
        means_: (K, D).
        covariances_: "full" (K, D, D), "tied" (D, D), "diag" (K, D), "spherical" (K,).
        precisions_: their inverses.
        precisions_cholesky_: Cholesky factors of the precisions.
        converged_: whether EM stopped because of `tol`.
        n_iter_: the number of EM steps in the best run.
        lower_bound_: the mean log-likelihood at the last step.
        lower_bounds_: the mean log-likelihood at each step.

    Chapter 3.
    """

    def fit(self, X, y: None = None, *, callback: Callable | None = None) -> Self:
        """Fit to X by EM, `n_init` times with at most `max_iter` steps each, and keep the best result.

        Args:
            X: (rows, features), or shards: a list of such matrices, or a function that returns an iterator over them,
                with the same rows in the same order every time.
            y: ignored.
            callback: called with the mixture after each step, with its attributes set. To survive an interruption, let
                it `save` the mixture; one that is loaded goes on from there if `warm_start` is set.

        Returns: the mixture itself.

        Raises:
            ValueError: if the settings or data are invalid, or a component collapses (see `reg_covar`).

        Issues a ConvergenceWarning if the best run did not converge.
        """
        self._validate_params()
        vars(self).pop("n_batches_", None)
        warm, runs = self.warm_start and hasattr(self, "converged_"), []
        with self._rows(X) as data:
            random_state = random_numbers(data, self.random_state)
            for number in range(1, 1 + (1 if warm else self.n_init)):
                parameters = self._parameters(data.device) if warm else start(data, self.get_params(), random_state)
                bound, bounds, converged = self.lower_bound_ if warm else -math.inf, [], False
                while len(bounds) < self.max_iter and not converged:
                    with one_core():  # an M step is too small to split across cores
                        moments = e_step_over(data, parameters, self.reg_covar)
                        parameters = m_step(moments, self.covariance_type, self.reg_covar)
                    before, bound = bound, float(moments.log_likelihood) / data.rows
                    bounds.append(bound)
                    converged = abs(bound - before) < self.tol
                    if self.verbose and len(bounds) % self.verbose_interval == 0:
                        progress = f"log-likelihood {bound:.6g}, change {bound - before:.2g}"
                        print(f"start {number}, step {len(bounds)}: {progress}")
                    if callback is not None:
                        self._keep(data, parameters, bound, bounds, converged)
                        callback(self)
                runs.append((parameters, bound, bounds, converged))
        self._keep(data, *max(runs, key=lambda run: run[1]))
        if not self.converged_ and self.max_iter > 0:
            message = "EM did not converge: try another start, increase max_iter or tol, or check for degenerate data"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return self

    def fit_predict(self, X, y: None = None) -> Array:
        """Call `fit(X)`, then `predict(X)`."""
        return self.fit(X).predict(X)

    def partial_fit(self, X: Array, y: None = None, *, decay: float = 0.6, rate: float | None = None) -> Self:
        """Take one step of online EM with the next batch X of a stream; the first batch provides the starting point.

        The n-th batch changes what the mixture knows by s <- (1 - rate) s + rate * batch, where s are the moments
        per row and rate = (n + 1) ** -decay. With 1/2 < decay <= 1, this converges to a stationary point of the
        likelihood: Cappé and Moulines (2009), eq. 13.

        Args:
            X: (rows, features).
            y: ignored.
            decay: above 0.5, at most 1.
            rate: used instead of `decay`, for a mixture that forgets at a constant rate, or one that is already fitted
                and should change little.

        Returns: the mixture itself.

        Raises:
            ValueError: if online EM does not converge with this decay, and in the same cases as `fit`.
        """
        self._validate_params()
        if not 0.5 < decay <= 1:
            raise ValueError(f"decay must be above 0.5 and at most 1, or online EM does not converge; got {decay!r}")
        fresh = not hasattr(self, "means_")
        with self._rows(X, reset=fresh) as data, one_core():
            before = None if fresh else self._parameters(data.device)
            before = before or start(data, self.get_params(), random_numbers(data, self.random_state))
            batch = e_step_over(data, before, self.reg_covar).to(data.device)
        self.n_batches_ = getattr(self, "n_batches_", 0) + 1
        rate = (self.n_batches_ + 1) ** -decay if rate is None else rate
        known = moments_of(before, self.reg_covar) * (1 - rate) + batch * (rate / data.rows)
        after = m_step(known, self.covariance_type, self.reg_covar)
        lower_bound = float(batch.log_likelihood) / data.rows
        self._keep(data, after, lower_bound, [*getattr(self, "lower_bounds_", []), lower_bound], converged=False)
        return self

    def score_samples(self, X: Array) -> Array:
        """The log-likelihood of each row: (rows,)."""
        return self._of_each_row(X, lambda joint: joint.logsumexp(0))

    def predict(self, X: Array) -> Array:
        """The most likely component of each row: (rows,), integers."""
        return self._of_each_row(X, lambda joint: joint.argmax(0), torch.int64)

    def predict_proba(self, X: Array) -> Array:
        """The responsibilities p(component | row): (rows, K)."""
        return self._of_each_row(X, lambda joint: e_step(joint)[0].T)

    def score(self, X, y: None = None) -> float:
        """The mean log-likelihood of the rows of X: a matrix, or shards as for `fit`."""
        return float(self._log_likelihoods(X).mean())

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Draw rows (n_samples, features), sorted by component, and the component of each (n_samples,).

        These are the same rows that scikit-learn draws.
        """
        check_is_fitted(self)
        twin = sklearn.mixture.GaussianMixture(**self.get_params())
        vars(twin).update({f"{name}_": np.asarray(value) for name, value in vars(self._parameters("cpu")).items()})
        rows, labels = (torch.from_numpy(part) for part in twin.sample(n_samples))
        return as_kind(rows, rows.dtype, self.means_), as_kind(labels, labels.dtype, self.means_)

    def save(self, path: str | Path) -> None:
        """Write settings and fitted parameters to a file (safetensors, JSON in its header), atomically.

        Raises ValueError if the mixture is not fitted. A `random_state` that is not a number is not saved.
        """
        check_is_fitted(self)
        state = vars(self) | {"random_state": self.random_state if isinstance(self.random_state, int) else None}
        if hasattr(self, "feature_names_in_"):
            state["feature_names_in_"] = self.feature_names_in_.tolist()
        save_checkpoint(path, state)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Load a mixture from a file. If it was fitted to tensors, its parameters are tensors on `device`.

        Raises FileNotFoundError if there is no such file, and ValueError if `save` did not write it.
        """
        Path(expanduser(path)).stat()  # is it there?
        try:
            state = read_checkpoint(path)[0]
            state["weights_"]  # a file of another kind has none
        except (CheckpointError, KeyError) as error:
            raise ValueError(f"{path} is not a file of a Gaussian mixture, or is incomplete: {error}") from error
        if "feature_names_in_" in state:
            state["feature_names_in_"] = np.array(state["feature_names_in_"], dtype=object)
        mixture = cls()
        vars(mixture).update({name: x.to(device) if isinstance(x, Tensor) else x for name, x in state.items()})
        return mixture

    @contextmanager
    def _rows(self, X, reset: bool = True) -> Iterator[Data]:
        """Yield X as checked rows that can be read repeatedly."""
        shards = is_shards(X)
        with Data(X if shards else check_rows(self, X, reset=reset), self.covariance_type in ("full", "tied")) as data:
            if reset and data.rows < max(2, self.n_components):
                got = f"n_components = {self.n_components}, n_samples = {data.rows}"
                raise ValueError(f"Expected n_samples >= n_components (and a minimum of 2), but got {got}")
            if shards:
                self.n_features_in_ = data.width
                vars(self).pop("feature_names_in_", None)
            yield data

    def _keep(self, data: Data, parameters: Parameters, bound: float, bounds: list[float], converged: bool) -> None:
        """Set the fitted attributes, in the kind and type of the data.

        Float32 cannot represent the mean of a narrow component far from the origin precisely enough for scoring, so the
        float64 values are also kept, and used as long as the attributes are not changed.
        """
        for name in NAMES:
            setattr(self, f"_{name}", getattr(parameters, name))
            setattr(self, f"{name}_", data.as_kind(getattr(parameters, name).clone()))
        factors = parameters.precisions_cholesky
        self.precisions_ = data.as_kind(factors @ factors.mT if parameters.full else factors.square())
        self.converged_, self.n_iter_ = converged, len(bounds)
        self.lower_bounds_, self.lower_bound_ = list(bounds), bound

    def _parameters(self, device: torch.device | str | None = None) -> Parameters:
        """The parameters in float64, on `device` or, if it is None, on the device of the attributes."""
        now = {name: as_tensor(getattr(self, f"{name}_")) for name in NAMES if hasattr(self, f"{name}_")}
        exact = {name: getattr(self, f"_{name}", torch.empty(0)) for name in NAMES}
        if not all(torch.equal(exact[name].to(value), value) for name, value in now.items()):
            full = self.covariance_type in ("full", "tied")
            exact = {name: value.double() for name, value in now.items()}
            exact["covariances"] = covariances_of_factors(exact["precisions_cholesky"], full)
        exact = {name: value.to(device or now["means"].device) for name, value in exact.items()}
        return Parameters(**exact, covariance_type=self.covariance_type)

    def _of_each_row(self, X: Array, function: Callable[[Tensor], Tensor], dtype: torch.dtype | None = None) -> Array:
        """Join function(log_joint (K, rows)) of each piece of X, in the kind of X and in its type or `dtype`."""
        check_is_fitted(self)
        rows = as_tensor(check_rows(self, X))
        parameters = self._parameters(rows.device)
        frame = Frame.of_mixture(parameters)
        step = BlockEStep(parameters, frame, level_needed(parameters, frame, FLOAT64))
        with Workers(rows.device) as workers:
            found = torch.cat(list(workers.map(lambda piece: function(step.log_joint(piece)), in_pieces(rows))))
        return as_kind(found, dtype or rows.dtype, X)

    def _log_likelihoods(self, X) -> Tensor:
        """The log-likelihood of each row of X, a matrix or shards, in float64."""
        shards = (matrix for matrix in shards_of(X) if matrix is X or len(matrix))  # a shard may be empty
        found = (self._of_each_row(matrix, lambda joint: joint.logsumexp(0), torch.float64) for matrix in shards)
        return torch.cat([torch.as_tensor(part).cpu() for part in found])
