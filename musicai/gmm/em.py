"""Expectation-maximisation: E step over all the data, M step, again; and the same for a stream. Chapter 3."""

from collections.abc import Iterator

import torch

from musicai.gmm.accuracy import ALLOWED, Precision, cancellation, needed
from musicai.gmm.blocks import Pass, Sums
from musicai.gmm.data import Data
from musicai.gmm.steps import Moments, Parameters, m_step, n_features, per_component
from musicai.threads import one_core

SMALL = 2**26  # multiplications in a pass; float64 costs nothing worth saving below


def expectation_maximisation(
    data: Data, parameters: Parameters, reg_covar: float
) -> Iterator[tuple[Parameters, float]]:
    """The parameters after each step, and the mean log-likelihood of the data under those before it; without end.

    The mean log-likelihood never falls (but by rounding, and by what `reg_covar` costs).
    """
    if parameters.covariance_type in ("full", "tied") and multiplications(data, parameters) > SMALL:
        data.turn()
    while True:
        parameters, sums = em_step(data, parameters, reg_covar)
        yield parameters, float(sums.log_likelihood / sums.rows)


def em_step(data: Data, parameters: Parameters, reg_covar: float) -> tuple[Parameters, Sums]:
    """One E step and one M step."""
    with one_core():
        return _em_step(data, parameters, reg_covar)


def _em_step(data: Data, parameters: Parameters, reg_covar: float) -> tuple[Parameters, Sums]:
    precision = needed_for(data, parameters)
    while True:
        careful = precision.dtype == torch.float64 and bool(precision.exact.all())
        seen, sums = e_pass(data, parameters, precision)
        # Rows far from every component, and components that have just become narrow, were seen too roughly: once more.
        after = needed_for(data, parameters, sums)
        try:
            better = m_step(seen, parameters.covariance_type, reg_covar)
            after = after | needed_for(data, better)
        except ValueError:
            if careful:
                raise
            after = Precision(torch.float64, torch.ones_like(precision.exact))
        if careful or precision.covers(after):
            return better, sums
        precision = precision | after


def e_pass(data: Data, parameters: Parameters, precision: Precision) -> tuple[Moments, Sums]:
    """The E step over all the data: what the M step needs, and the log-likelihood."""
    e_step = Pass(parameters, data.frame, precision)
    sums = data.sums(e_step.sums)
    return e_step.moments(sums), sums


def needed_for(data: Data, parameters: Parameters, sums: Sums | None = None) -> Precision:
    """The arithmetic that these parameters need on these data; `sums`: what was seen under them, if it is known."""
    _, means, factors = data.frame.mixture_into(parameters)
    terms = cancellation(means, data.frame.variances(parameters), factors)
    misfit = 0.0 if sums is None else abs(float(sums.log_likelihood / sums.rows - data.frame.log_volume()))
    large = multiplications(data, parameters) > SMALL
    near = misfit * torch.finfo(torch.float32).eps < ALLOWED[torch.float32, False]
    fastest = torch.float32 if data.dtype == torch.float32 and large and near else torch.float64
    return needed(parameters, terms, fastest)


def multiplications(data: Data, parameters: Parameters) -> int:
    """In a pass, about."""
    full = parameters.covariance_type in ("full", "tied")
    return data.rows * len(parameters.means) * n_features(data.width, full)


def memory(parameters: Parameters, reg_covar: float) -> Moments:
    """The moments, for one row, of which these are the parameters: what the mixture knows of all it has seen."""
    weights, means = parameters.weights, parameters.means
    if parameters.covariance_type in ("full", "tied"):
        covariances = parameters.covariances - reg_covar * torch.eye(means.shape[1]).to(means)
        covariances = covariances.expand(len(means), -1, -1)
    else:
        covariances = parameters.variances() - reg_covar
    return Moments(weights, means, covariances * per_component(weights, covariances))


def blend(memory: Moments, batch: Moments, rate: float) -> Moments:
    """The memory after this batch: s <- (1 - rate) s + rate * batch, both for one row.

    With rates n ** -decay, 1/2 < decay <= 1, for the n-th batch, the estimates converge to a stationary point of the
    likelihood: Cappé and Moulines (2009), eq. 13.
    """
    return memory * (1 - rate) + batch * rate
