"""What people train on: reading their files, recognising rows, and the store of what was kept.

Nothing here imports torch, `datasets` or pyarrow at import time; the data worker does the reading.
"""
