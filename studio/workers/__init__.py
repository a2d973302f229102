"""The processes that import torch, an entry a module. The page talks to them through `studio.protocol`, which does
not."""
