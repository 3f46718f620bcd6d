"""Expectation-maximisation: E step over all the data, M step, again. Chapter 3."""

import math
from collections.abc import Iterator

import torch

from musicai.gmm.blocks import Pass, Sums
from musicai.gmm.data import Data
from musicai.gmm.precision import Precision, cancellation, needed
from musicai.gmm.steps import Moments, Parameters, m_step, n_features

SMALL = 2**26  # multiplications in a pass; float64 costs nothing worth saving below


def expectation_maximisation(
    data: Data, parameters: Parameters, reg_covar: float, lower_bound: float = -math.inf
) -> Iterator[tuple[Parameters, float]]:
    """The parameters after each step, and the mean log-likelihood of the data under those before it; without end.

    The mean log-likelihood never falls (but by rounding, and by what `reg_covar` costs). `lower_bound`: what it was
    when these parameters were found, if they were.
    """
    while True:
        misfit = abs(lower_bound - float(data.frame.log_volume()))
        parameters, sums = em_step(data, parameters, reg_covar, misfit)
        lower_bound = float(sums.log_likelihood / sums.rows)
        yield parameters, lower_bound


def em_step(data: Data, parameters: Parameters, reg_covar: float, misfit: float) -> tuple[Parameters, Sums]:
    """One E step and one M step.

    misfit: how far from 0 a row's log density in the frame is; infinite if unknown, which only float64 bears.
    """
    precision = needed_for(data, parameters, misfit)
    while True:
        careful = precision.dtype == torch.float64 and bool(precision.exact.all())
        seen, sums = e_pass(data, parameters, precision)
        try:
            better = m_step(seen, parameters.covariance_type, reg_covar)
            after = needed_for(data, better, 0)
        except ValueError:
            if careful:
                raise
            after = Precision(torch.float64, torch.ones_like(precision.exact))
        if careful or precision.covers(after):
            return better, sums
        precision = precision | after  # a component has become narrow, and was summed up too roughly: once more


def e_pass(data: Data, parameters: Parameters, precision: Precision) -> tuple[Moments, Sums]:
    """The E step over all the data: what the M step needs, and the log-likelihood."""
    e_step = Pass(parameters, data.frame, precision)
    sums = data.sums(e_step.sums)
    return e_step.moments(sums), sums


def needed_for(data: Data, parameters: Parameters, misfit: float) -> Precision:
    """The arithmetic that these parameters need on these data."""
    _, means, factors = data.frame.mixture_into(parameters)
    terms = cancellation(means, parameters.variances() * data.frame.scale.square(), factors)
    multiplications = data.rows * len(means) * n_features(data.width, factors.dim() == 3)
    if data.dtype == torch.float64 or multiplications <= SMALL or math.isinf(misfit):
        return needed(parameters, terms, torch.float64)
    return needed(parameters, terms + misfit, torch.float32)
