"""Mixtures of Gaussians: a density for any data of any size. Chapter 3.

`GaussianMixture` is scikit-learn's estimator, with EM in torch: its `fit` is the loop, and `e_step`, `moments` and
`m_step` are the equations. `MixtureDensity` is the same mixture as a module, for training by gradients, and
`MixtureHead` is the last layer of a network that outputs a mixture.
"""

import musicai
from musicai.gmm.em import Moments, Parameters, e_step, log_joint, m_step, moments
from musicai.gmm.head import ConditionalMixture, MixtureDensity, MixtureHead
from musicai.gmm.mixture import GaussianMixture

__all__ = musicai.exports(globals())
