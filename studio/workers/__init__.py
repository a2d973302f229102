"""The processes that import torch. The web process talks to them through `studio.workers.client`, which does not."""
