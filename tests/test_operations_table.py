"""Which theory takes which operation: the table says what the package does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sympy as sp

from resexpand.cli import main
from resexpand.network.operation import Map, Parameter, X
from resexpand.network.registry import OPERATIONS, register
from resexpand.workflows.operations import ASKED, operations

EPS = sp.Symbol("eps", nonnegative=True)
SQUARE = sp.Symbol("s", positive=True)


class Hand(Map):
    """``x -> x / sqrt(mean x^2 + eps)``, with a parameter that must be given."""

    kind = "Hand"
    parameters = (Parameter(EPS, minimum=0),)
    averages = ((SQUARE, X**2),)
    expression = X / sp.sqrt(SQUARE + EPS)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(Hand)
    yield
    del OPERATIONS[Hand.kind]


def test_the_table_is_made_by_trying() -> None:
    table = operations(["Hand", "Activation"])
    assert table.takes("Hand", "kernel of pairs")
    assert table.takes("Hand", "sampled gradient")
    assert table.takes("Activation", "one loop")
    assert table.takes("Activation", "exact moments")
    assert "its averages over the neurons couple" in table.refusals["Hand"]["sampled orders"]
    assert not table.takes("Activation", "kernel, as post-norm")
    assert set(table.refusals["Hand"]) == set(ASKED)
    batch = operations(["BatchNorm"])
    assert [q for q in ASKED if batch.takes("BatchNorm", q)] == [
        *("kernel over positions", "kernel of a batch"),
        *("response over positions", "response of a batch", "gradient moments", "growth"),
        *("sampled kernel", "sampled kernel, dense", "sampled gradient"),
    ]
    norm = operations(["LayerNorm"])
    assert norm.takes("LayerNorm", "optimal scale")
    assert norm.takes("LayerNorm", "order profile")
    noisy = operations(["StochasticDepth"])
    assert noisy.takes("StochasticDepth", "kernel")
    assert noisy.takes("StochasticDepth", "sampled gradient")
    assert not noisy.takes("StochasticDepth", "one loop")
    assert not noisy.takes("StochasticDepth", "kernel, as post-norm")
    text = str(table)
    assert "kernel of pairs" in text
    assert "Activation, implied scale: " in text


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(OPERATIONS) - {"Hand"}:
        monkeypatch.delitem(OPERATIONS, name)
    assert main(["operations", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["operations"]["Hand"]["kernel"] == ""
    assert main(["operations"]) == 0
    assert "Hand" in capsys.readouterr().out
