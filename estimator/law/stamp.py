"""The tracer's stamp: what a law was traced by. No torch.

It is a hash of the code of `estimator/trace` (its tables of kernels and temporaries, how a step is made and recorded)
and of the loops that it runs, taken by `estimator.make.stamp`; comments, docstrings and layout do not count. Whoever
changes one of them takes the stamp anew, which traces some of the shipped laws again and compares
(`tests/estimator/test_shelf.py` fails until then). Records of another stamp are not read: `estimator.shelf.shelf` has
it in the name of each record kept on a machine, and `presets/stamps.json` beside each file that ships.
"""

STAMP = "05bf557f5317"
