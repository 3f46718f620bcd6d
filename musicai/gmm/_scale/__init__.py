"""The closed box behind `GaussianMixture`: fast, accurate in float32, and for data of any size on any number of processes.

You need not open it to understand EM; its equations are in `musicai.gmm.em`, and tests hold the two together.
"""
