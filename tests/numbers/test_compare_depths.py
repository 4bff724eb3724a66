"""Regimes of depth: exponents read off kernels against the thresholds, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    FractionalBrownian,
    LayerMatrix,
    LayerNorm,
    Linear,
    Markov,
    ResNet,
    Smooth,
    compare_depths,
    depth_thresholds,
)
from resexpand.errors import HyperparameterError, UnsupportedError

L, beta = sp.Symbol("L", integer=True, positive=True), sp.Symbol("beta", real=True)
RELU = Activation("relu")
RES1 = Branch(RELU, Linear(1, 0))
RES3 = Branch(Linear(1, 0), RELU, Linear(1, 0))
ODD3 = Branch(Linear(1, 0), Activation("erf"), Linear(1, 0))


def family(branch: Branch = RES1, layers=None) -> ResNet:
    return ResNet(branch, scale=L ** (-beta), depth=L, layers=layers)


@pytest.mark.parametrize(("at", "regime"), [(0.3, "explosion"), (0.5, "limit"), (0.9, "identity")])
def test_independent_blocks(at: float, regime: str) -> None:
    found = compare_depths(family(), beta=at)
    assert found.regime == regime
    assert found.beta == pytest.approx(at)
    assert found.exponent == pytest.approx(2 * (0.5 - at), abs=0.03)
    assert found.expected == pytest.approx(1 - 2 * at)


@pytest.mark.parametrize(
    ("branch", "H", "threshold"),
    [
        (RES1, 0.8, 0.8),
        (RES1, 0.4, 0.4),
        (RES3, 0.3, 0.5),
        (RES3, 0.85, 0.85),
        (ODD3, 0.9, 0.8),
    ],
    ids=str,
)
def test_fractional_weights(branch: Branch, H: float, threshold: float) -> None:
    """Far on either side of the threshold, where finite depths decide."""
    net = family(branch, FractionalBrownian(H))
    assert float(depth_thresholds(net).stream) == pytest.approx(threshold)
    above = compare_depths(net, beta=threshold + 0.25, depths=(100, 200, 400))
    assert above.regime == "identity"
    assert above.exponent == pytest.approx(-0.5, abs=0.12)
    assert above.expected == pytest.approx(-0.5)
    below = compare_depths(net, beta=threshold - 0.2, depths=(50, 100, 200))
    assert below.regime == "explosion"


def test_the_threshold_below_a_quarter_is_seen() -> None:
    """res-1, H = 0.1: there is a limit at beta = 0.25, which is far below 1/2."""
    net = family(RES1, FractionalBrownian(0.1))
    assert depth_thresholds(net).stream == sp.Rational(1, 4)
    assert depth_thresholds(net).at_width == sp.Rational(1, 2)
    near = compare_depths(net, beta=0.25, depths=(100, 200, 400))
    far = compare_depths(net, beta=0.45, depths=(100, 200, 400))
    assert abs(near.exponent) < 0.2
    assert far.exponent < -0.25


def test_smooth_weights_have_the_scale_of_an_ordinary_equation() -> None:
    net = family(RES1, Smooth("rbf", 0.05))
    assert depth_thresholds(net).stream == 1
    assert compare_depths(net, beta=1.0).regime == "limit"
    assert compare_depths(net, beta=0.6).regime == "explosion"


def test_statuses_and_gradients() -> None:
    H = sp.Symbol("H", positive=True)
    found = depth_thresholds(family(RES3, FractionalBrownian()))
    assert (found.stream, found.gradient) == (
        sp.Max(H, sp.Rational(1, 2)),
        sp.Max(sp.Rational(1, 2), 2 * H - 1),
    )
    assert found.status == "numerical"
    assert depth_thresholds(family()).status == "derived"
    assert depth_thresholds(family(RES1, Markov(1))).stream == 1
    assert depth_thresholds(family(ODD3, FractionalBrownian(0.3))).at_width is None


def test_no_theory_but_numbers() -> None:
    net = ResNet(Branch(LayerNorm(), RELU, Linear(2, 0)), scale=1 / sp.sqrt(L), depth=L)
    found = compare_depths(net)
    assert found.thresholds is None
    assert np.isnan(found.expected)
    assert found.regime == "limit"


REFUSED = {
    "numeric depth": lambda: compare_depths(ResNet(RES1, scale=1, depth=9)),
    "matrix": lambda: depth_thresholds(ResNet(RES1, scale=1, depth=2, layers=np.eye(2))),
    "alternating": lambda: depth_thresholds(family(RES1, Markov(-1))),
    "norm": lambda: depth_thresholds(family(Branch(LayerNorm(), RELU, Linear(2, 0)))),
    "even": lambda: depth_thresholds(
        family(Branch(Linear(1, 0), Activation("x**2 - 1"), Linear(1, 0)), FractionalBrownian(0.3))
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    with pytest.raises(UnsupportedError):
        REFUSED[case]()


def test_bad_numbers() -> None:
    for wrong in (
        {},
        {"beta": float("nan")},
        {"beta": float("inf")},
        {"beta": 0.5, "depths": (10, 20)},
        {"beta": 0.5, "depths": (20, 10, 40)},
        {"beta": 0.5, "K0": 0},
        {"beta": [0.5, 0.6]},
    ):
        with pytest.raises(HyperparameterError):
            compare_depths(family(), **wrong)
    assert LayerMatrix(np.eye(2)).exponent is None


def test_a_growth_that_leaves_double_precision_is_no_identity() -> None:
    net = ResNet(RES1, scale=L**-beta, depth=L, layers=FractionalBrownian(0.8))
    assert compare_depths(net, beta=-1, depths=(25, 50, 100)).regime != "identity"
    assert compare_depths(net, beta=5, depths=(25, 50, 100)).regime == "identity"


@pytest.mark.parametrize(
    ("text", "stream", "gradient"),
    [
        ("tanh", "1/4", "1/4"),
        ("x*abs(x)", "1/4", "1/4"),
        ("relu", "1/4", "1/3"),
        ("abs(x - 1)", "1/4", "1/3"),
        ("sign", "1/3", None),
        ("heaviside(x) + x", "1/3", None),
    ],
)
def test_functions_that_jump_move_the_threshold(text: str, stream: str, gradient: object) -> None:
    """Streams at a distance k differ by rho^2 k^{2H}; a jump sees the root of that."""
    branch = Branch(Activation(text), Linear(1, 0))
    found = depth_thresholds(family(branch, FractionalBrownian(sp.Rational(1, 10))))
    assert found.stream == sp.Rational(stream)
    assert found.gradient == (None if gradient is None else sp.Rational(str(gradient)))
    above = depth_thresholds(family(branch, FractionalBrownian(sp.Rational(2, 5))))
    assert above.stream == sp.Rational(2, 5)
    free = depth_thresholds(family(branch))
    assert free.stream == sp.Rational(1, 2)
    assert (free.gradient is None) == (gradient is None)


@pytest.mark.parametrize(("name", "threshold"), [("sign", 1 / 3), ("erf", 1 / 4)])
def test_the_threshold_of_a_jump_is_a_third(name: str, threshold: float) -> None:
    """The exponent vanishes at the threshold, up to its correction, and at no other scale."""
    net = family(Branch(Activation(name), Linear(1, 0)), FractionalBrownian(0.1))
    other = {1 / 3: 1 / 4, 1 / 4: 1 / 3}[threshold]
    slopes = [
        compare_depths(net, beta=b, depths=(200, 400, 800)).exponent for b in (threshold, other)
    ]
    assert abs(slopes[0]) < 0.1
    assert abs(slopes[1]) > 2 * abs(slopes[0])
    assert slopes[1] * (threshold - other) > 0


def test_an_exponent_that_moves_slowly_is_no_verdict() -> None:
    """At beta* itself the exponent of a rough sum is far from zero, and its error says so."""
    for at, H in ((0.77, 0.77), (0.7, 0.77), (0.9, 0.77)):
        law = FractionalBrownian(H)
        net = ResNet(Branch(Linear(1, 0), RELU, Linear(1, 0)), scale=L**-at, depth=L, layers=law)
        found = compare_depths(net)
        assert abs(found.exponent - found.expected) < 2 * found.error
        assert found.regime == ("identity" if at == 0.9 else "undecided")
    # Below H = 1/4 the fourth power of the scale adds up.
    below = ResNet(
        Branch(RELU, Linear(1, 0)), scale=L**-0.3, depth=L, layers=FractionalBrownian(0.1)
    )
    assert compare_depths(below).expected == pytest.approx(1 - 4 * 0.3)
