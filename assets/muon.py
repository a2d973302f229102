"""Muon in fp32, for the matrices inside the tiny base's layers.

`torch.optim.Muon` orthogonalises in bf16, which on a CPU without bf16 instructions takes longer than the rest of the step.
The method is Keller Jordan's (https://kellerjordan.github.io/posts/muon/), restated; matrices of one shape go through together.
"""

from collections import defaultdict

import torch

# Coefficients of the quintic iteration, from the page above: steep at zero, so that five rounds are enough.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """Near-orthogonal matrices with the row and column spaces of the given stack (count, rows, columns)."""
    a, b, c = COEFFICIENTS
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update of each matrix is made orthogonal. For 2-D parameters only."""

    def __init__(self, parameters, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for parameter in group["params"]:
                by_shape[parameter.shape].append(parameter)
            for alike in by_shape.values():
                self.step_alike(alike, group)

    def step_alike(self, alike: list[torch.nn.Parameter], group: dict) -> None:
        """One step of all parameters of one shape."""
        updates = []
        for parameter in alike:
            buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            buffer.lerp_(parameter.grad, 1 - group["momentum"])
            updates.append(parameter.grad.lerp(buffer, group["momentum"]))
        rows, columns = alike[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(alike, orthogonalise(torch.stack(updates))):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)
