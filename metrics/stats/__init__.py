"""Pure arithmetic of sequential comparisons: numbers in, numbers out.

No clock, no store, no random numbers. Nothing heavier than numpy and ``scipy.special`` is
imported; what statsmodels and ``scipy.optimize`` have is taken from them when it is asked for.
"""
