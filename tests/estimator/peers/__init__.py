"""This project beside other estimators, on the published measurements: `python -m tests.estimator.peers`."""
