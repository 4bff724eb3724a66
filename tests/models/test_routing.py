"""The networks that route tokens, and what is compared at equal compute."""

from __future__ import annotations

import numpy as np
import pytest
from torch_models import torch

from support.radial import Radial, Sequential, Sizes, Text, at_compute, by_exit, by_layers, by_ratio
from support.text import docstrings, source

SIZES = Sizes(width=8, heads=2, depth=3, context=8, batch=2, steps=2, text=50_000, held_out=4)


def ids():
    return torch.randint(0, 256, (3, 8), generator=torch.Generator().manual_seed(0))


def test_a_student_begins_as_its_teacher():
    torch.manual_seed(0)
    teacher, student = Sequential(SIZES).eval(), Radial(SIZES).eval()
    student.follow(teacher)
    with torch.no_grad():
        logits, expected, actual, _ = student(ids())
        torch.testing.assert_close(logits, teacher(ids()), rtol=1e-4, atol=1e-4)
    assert actual == 1.0
    assert 2.5 < float(expected) < 3.0


def test_halting_spends_nothing():
    torch.manual_seed(0)
    model = Radial(SIZES).eval()
    with torch.no_grad():
        logits, expected, actual, _ = model(ids(), 50.0)
        assert actual == 0.0
        assert float(expected) < 1e-6
        torch.testing.assert_close(logits, model.read(model.embed(ids())))


def test_the_router_has_a_gradient():
    torch.manual_seed(0)
    model = Radial(SIZES).train()
    logits, expected, _, uneven = model(ids())
    (logits.square().mean() + expected + uneven).backward()
    for weight in (model.router.weight, model.after.weight, model.layers[0].qkv.weight):
        assert weight.grad is not None
        assert float(weight.grad.abs().sum()) > 0


def test_branches_of_chosen_tokens_are_those_of_the_layer():
    torch.manual_seed(0)
    layer, h = Sequential(SIZES).layers[0].eval(), torch.randn(2, 8, 8)
    chosen = torch.rand(2, 8) < 0.5
    with torch.no_grad():
        torch.testing.assert_close(layer.on(h, chosen), (layer(h) - h)[chosen])


def test_curves_begin_with_the_whole_network():
    torch.manual_seed(0)
    model, text = Sequential(SIZES).eval(), Text.of(SIZES)
    with torch.no_grad():
        whole = float(
            torch.nn.functional.cross_entropy(
                model(text.held[:, :-1]).flatten(0, 1), text.held[:, 1:].flatten()
            )
        )
        for curve in (by_ratio(model, text.held), by_layers(model, text.held)):
            assert curve[0] == (1.0, pytest.approx(whole, rel=1e-5))
            assert curve[-1][0] < 0.5
        exits = by_exit(model, text.held)
    assert exits[0] == (1.0, pytest.approx(whole, rel=1e-5))
    assert exits[-1][0] == pytest.approx(1 / 3)


def test_loss_at_equal_compute_spends_no_more():
    curve = [(1.0, 2.0), (0.5, 1.5), (0.25, 3.0)]
    assert at_compute(curve, 1.0) == 1.5
    assert at_compute(curve, 0.375) == pytest.approx(2.25)
    assert np.isnan(at_compute(curve, 0.1))


def test_real_text_is_found():
    assert len(source(1000)) == 1000
    first = next(docstrings())
    assert len(first) >= 400
