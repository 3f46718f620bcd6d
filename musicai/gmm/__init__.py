"""Mixtures of Gaussians: a density for any data, at any size. Chapter 3.

`GaussianMixture` is scikit-learn's estimator, with EM in torch.
"""

from musicai.gmm.mixture import GaussianMixture
from musicai.gmm.steps import Moments, Parameters, coefficients, e_step, features, log_joint, m_step, moments

__all__ = [
    "GaussianMixture",
    "Moments",
    "Parameters",
    "coefficients",
    "e_step",
    "features",
    "log_joint",
    "m_step",
    "moments",
]
