"""Mixtures of Gaussians: a density for any data, at any size. Chapter 3.

`GaussianMixture` is scikit-learn's estimator, with EM in torch; `MixtureDensity` is the same mixture as a module, for
training by gradients, and `MixtureHead` the last layer of a network that answers with a mixture. `e_step`, `m_step` and
what they are made of are the equations.
"""

from musicai.gmm.density import MixtureDensity
from musicai.gmm.head import ConditionalMixture, MixtureHead
from musicai.gmm.mixture import GaussianMixture
from musicai.gmm.steps import Moments, Parameters, coefficients, e_step, features, log_joint, m_step, moments

__all__ = [
    "ConditionalMixture",
    "GaussianMixture",
    "MixtureDensity",
    "MixtureHead",
    "Moments",
    "Parameters",
    "coefficients",
    "e_step",
    "features",
    "log_joint",
    "m_step",
    "moments",
]
