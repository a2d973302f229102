#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0
#
# What happens:   the learning rate schedule "constant" takes `num_warmup_steps` and does nothing with it: the first step has the
#                 full rate, without a word. The schedule that warms up and then stays is another, "constant_with_warmup".
# A likely guess: a warm-up that was asked for happens, as under "linear" and "cosine", or is refused.
# Seen:           constant [1.0, 1.0, 1.0, 1.0], constant_with_warmup [0.0, 0.25, 0.5, 0.75].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0
env/bin/python - <<'PY'
import torch
from transformers import get_scheduler


def rates(name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, seen = get_scheduler(name, optimizer, num_warmup_steps=4), []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


constant, warmed = rates("constant"), rates("constant_with_warmup")
print("constant", constant, "constant_with_warmup", warmed)
assert constant == [1.0] * 4 and warmed == [0.0, 0.25, 0.5, 0.75]
PY
