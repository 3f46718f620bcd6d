"""What a fitted mixture says of rows: their likelihood and components; and rows that it makes itself."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musicai.gmm.accuracy import Frame, cancellation, needed
from musicai.gmm.attributes import Attributes, Kind
from musicai.gmm.blocks import Pass
from musicai.gmm.checks import check_rows
from musicai.gmm.data import in_pieces, is_shards, shards_of
from musicai.gmm.steps import Parameters
from musicai.threads import Workers

Array = np.ndarray | Tensor


class Scoring(Attributes):
    """The methods of `GaussianMixture` that need a fitted one. All is computed in float64."""

    n_components: int
    random_state: Any

    def score_samples(self, X: Array) -> Array:
        """The log-likelihood of each row: (rows,)."""
        return self._of_each_row(X, Pass.log_likelihood)

    def predict(self, X: Array) -> Array:
        """The likeliest component of each row: (rows,), whole numbers."""
        return self._of_each_row(X, Pass.labels, torch.int64)

    def predict_proba(self, X: Array) -> Array:
        """The responsibilities p(component | row): (rows, K)."""
        return self._of_each_row(X, Pass.responsibilities)

    def score(self, X: Any, y: None = None) -> float:
        """The mean log-likelihood of the rows of X: a matrix, or shards as for `fit`."""
        total, count = self._log_likelihood(X)
        return total / count

    def bic(self, X: Any) -> float:
        """Bayesian information criterion on X, the lower the better. Schwarz (1978)."""
        total, count = self._log_likelihood(X)
        return -2 * total + self._n_parameters() * math.log(count)

    def aic(self, X: Any) -> float:
        """Akaike information criterion on X, the lower the better. Akaike (1974)."""
        return -2 * self._log_likelihood(X)[0] + 2 * self._n_parameters()

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Draw (rows (n_samples, features), the component of each (n_samples,)), in the order of the components."""
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. The sampling requires at least one sample.")
        random_state = check_random_state(self.random_state)
        parameters = self._parameters(torch.device("cpu"))
        weights = parameters.weights.numpy()
        counts = random_state.multinomial(n_samples, weights / weights.sum())
        noise = torch.from_numpy(random_state.standard_normal((n_samples, parameters.means.shape[1])))
        labels = torch.arange(len(counts)).repeat_interleave(torch.from_numpy(counts))
        rows = parameters.means[labels] + _own_spread(noise, counts.tolist(), parameters)
        kind = self._kind()
        return kind.make(rows, torch.float64), kind.make(labels, torch.int64)

    def _of_each_row(self, X: Array, method: Callable[[Pass, Tensor], Tensor], dtype: torch.dtype | None = None):
        check_is_fitted(self)
        rows = check_rows(self, X)
        return Kind.of(X, rows.dtype).make(torch.cat(list(self._map(rows, method))), dtype)

    def _log_likelihood(self, X: Any) -> tuple[float, int]:
        """Of all rows together; and how many."""
        check_is_fitted(self)
        total, count = 0.0, 0
        for matrix in shards_of(X) if is_shards(X) else [X]:
            if matrix is not X and len(matrix) == 0:  # a shard may be empty
                continue
            rows = check_rows(self, matrix)
            total += float(sum(part.sum() for part in self._map(rows, Pass.log_likelihood)))
            count += len(rows)
        if not count:
            raise ValueError("there are no rows: score needs a matrix, or shards that hold some")
        return total, count

    def _map(self, rows: Tensor, method: Callable[[Pass, Tensor], Tensor]) -> Iterator[Tensor]:
        parameters = self._parameters(rows.device)
        frame = Frame.of_mixture(parameters)
        _, means, factors = frame.mixture_into(parameters)
        terms = cancellation(means, parameters.variances() * frame.scale.square(), factors)
        e_step = Pass(parameters, frame, needed(parameters, terms, torch.float64))
        with Workers(rows.device) as workers:
            yield from workers.map(lambda piece: method(e_step, piece), in_pieces(rows))

    def _n_parameters(self) -> int:
        """How many numbers are free."""
        k, d = self.means_.shape
        covariances = {"full": k * d * (d + 1) // 2, "diag": k * d, "tied": d * (d + 1) // 2, "spherical": k}
        return covariances[self.covariance_type] + k * d + k - 1


def _own_spread(noise: Tensor, counts: list[int], parameters: Parameters) -> Tensor:
    """Standard normal rows, stretched as the components they belong to are: `counts` rows each."""
    parts = []
    for rows, factor in zip(noise.split(counts), parameters.factors(), strict=True):
        if factor.dim() == 1:
            parts.append(rows / factor)
        else:  # x = U^-T z has the covariance (U U^T)^-1
            parts.append(torch.linalg.solve_triangular(factor, rows, upper=True, left=False))
    return torch.cat(parts)
