"""Steps that find and mend what makes rows a bad thing to train on: what a step may do (`steps.py`), a look at rows
that changes nothing and a new version with what is chosen (`run.py`), long texts cut into pieces (`chunks.py`), and
the report card of a dataset (`card.py`).

A step judges one row (`record.Judge`), or all of them at once where one row repeats another (`copies.py`). A new
step is a module with such a judge, a line in `steps.STEPS` and its sentences `dataset.cleaning_*` and
`dataset.reason_*`.
"""
