"""The closed box behind `GaussianMixture`: fast, accurate in float32, for data of any size.

You need not open it to understand EM; its equations are in `musicai.gmm.em`, and tests hold the two together.
"""
