"""Residual sums are found where one function of PyTorch adds and does something else."""

from __future__ import annotations

import numpy as np
import pytest
from torch_models import nn, rows, torch

from resexpand import profile
from resexpand.models.blocks import find_blocks


class Block(nn.Module):
    """A block of one line of code."""

    def __init__(self, line):
        super().__init__()
        self.line, self.f = line, nn.Linear(16, 16)
        self.g, self.w = nn.Parameter(torch.full((16,), 0.3)), nn.Parameter(torch.tensor(0.2))

    def forward(self, x):
        return self.line(self, x)


LINES = {
    "addcmul": (lambda s, x: torch.addcmul(x, s.g, s.f(x), value=0.5), 1),
    "addcmul in place": (lambda s, x: x.clone().addcmul_(s.g, s.f(x)), 1),
    "addcdiv": (lambda s, x: torch.addcdiv(x, s.f(x), torch.full_like(x, 3.0)), 1),
    "addmm": (lambda s, x: torch.addmm(x, x.relu(), s.f.weight.T, alpha=0.5, beta=0.9), 0.9),
    "addmm in place": (lambda s, x: x.clone().addmm_(x.relu(), s.f.weight.T), 1),
    "lerp": (lambda s, x: torch.lerp(x, s.f(x), 0.3), 0.7),
    "lerp by a weight": (lambda s, x: x.lerp(s.f(x), weight=s.w), 0.8),
    "alpha": (lambda s, x: torch.add(x, s.f(x), alpha=0.4), 1),
    "sum of a list": (lambda s, x: sum([x, s.f(x)]), 1),
    "subtract": (lambda s, x: torch.subtract(x, s.f(x)), 1),
}


@pytest.mark.parametrize("name", LINES)
def test_fused_sums_are_blocks(name):
    line, skip = LINES[name]
    torch.manual_seed(0)
    model, x = nn.Sequential(*(Block(line) for _ in range(3))).eval(), rows(50)
    assert [block.name for block in find_blocks(model, x)] == ["0", "1", "2"]
    found, h = profile(model, x), x
    with torch.no_grad():
        for k, block in enumerate(model):
            after = block(h)
            ratio = (after - skip * h).norm(dim=1) / after.norm(dim=1)
            assert found.mean()[k] == pytest.approx(float(ratio.mean()), rel=1e-4)
            h = after
    np.testing.assert_array_equal(h, model(x).detach())


def test_what_adds_no_function_of_the_stream_is_no_block():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.f, self.block = nn.Linear(16, 16), Block(LINES["alpha"][0])

        def forward(self, x):
            x = torch.addmm(self.f.bias, x, self.f.weight.T)
            x = torch.addcmul(torch.ones_like(x), x, x)
            return self.block(x)

    assert [block.name for block in find_blocks(Plain(), rows())] == ["block"]


def test_an_axis_that_was_added_and_taken_away_keeps_the_stream():
    class Batched(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 16) / 4)

        def forward(self, x):
            return torch.baddbmm(x[None], x.relu()[None], self.weight[None])[0]

    assert len(profile(nn.Sequential(Batched(), Batched()), rows())) == 2
