"""The commands of the estimator, one module each."""
