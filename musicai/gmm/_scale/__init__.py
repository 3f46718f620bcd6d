"""The engine behind `GaussianMixture`: fast, accurate in float32, and for data of any size.

You needn't read it to understand EM: the equations are in `musicai.gmm.em`, and tests check that the two agree.
"""
