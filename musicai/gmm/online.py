"""Online EM: a mixture that learns from a stream, one batch after another. Chapter 3."""

import torch

from musicai.gmm.steps import Moments, Parameters, per_component


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
