"""Width and depth at a fixed ratio: networks of several widths against the equations; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    depth_limit,
    depth_paths,
    sample,
    sample_depth_limit,
    to_latex,
)
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.observables.observable import Observable
from resexpand.numbers.depth_limit import solve_depth_limit

L, N = (sp.Symbol(name, integer=True, positive=True) for name in "LN")
R = sp.Symbol("r", real=True)
RELU, LINEAR = Activation("relu"), Linear(1, 0)
BEND, DRAWS, RHO = 1.0, 5000, sp.Rational(3, 4)


def limit_of(*ops, rho=RHO):
    return depth_limit(ResNet(Branch(*ops), scale=rho, depth=L))


def read(record) -> np.ndarray:
    """Correlation at both ends, and the growth of ln G."""
    gram = record.of_inputs(record.sites["states"])
    r = gram[..., 0, 1] / np.sqrt(gram[..., 0, 0] * gram[..., 1, 1])
    grown = np.log(gram[:, -1, 0, 0] / gram[:, 0, 0, 0])
    return np.stack([r[:, 0], r[:, -1], r[:, -1] ** 2, grown, grown**2], axis=1)


READ = Observable("ends", read, ("states",), inputs=2)


def shaped(width: int) -> Activation:
    bend = BEND / math.sqrt(width)
    return Activation(f"{1 + bend!r} * max(x, 0) + {1 - bend!r} * min(x, 0)")


def solved(drift, square, start: np.ndarray, steps: int = 200) -> np.ndarray:
    """The equation of r up to t = 1, by the scheme of Euler and Maruyama in NumPy."""
    rng, r = np.random.default_rng(1), start.copy()
    for _ in range(steps):
        noise = rng.normal(size=r.shape) * np.sqrt(np.maximum(square(r), 0) / steps)
        r = np.clip(r + drift(r) / steps + noise, -1, 1)
    return r


@pytest.mark.parametrize("opening", [True, False], ids=["W phi(h)", "V phi(W h)"])
def test_networks_as_deep_as_wide_approach_it(opening: bool) -> None:
    """Extrapolated in 1/N, exact for slopes that are opposite; two wrong equations do not fit."""
    inner = () if opening else (LINEAR,)
    widths, means, errors = (32, 96), [], []
    for width in widths:
        net = ResNet(Branch(*inner, shaped(width), LINEAR), scale=float(RHO), depth=width)
        run = sample(net, READ, width, DRAWS, K0=[[1, 0.3], [0.3, 1]], seed=width + 5)["ends"]
        limit = limit_of(*inner, shaped(width), LINEAR)
        # What is common to all widths is the equation: means are compared with its own.
        means.append(run.mean - [0, 0, 0, float(limit.log_drift.rhs.subs(N, width)), 0])
        errors.append(run.stderr)
    line = np.array([-0.5, 1.5])
    found, error = line @ np.array(means), np.sqrt(line**2 @ np.array(errors) ** 2)

    wide = 4000
    limit = limit_of(*inner, shaped(wide), LINEAR)
    drift, square = (
        sp.lambdify(R, f.closed().subs(N, wide), "numpy")
        for f in (limit.correlation_drift, limit.correlation_diffusion)
    )
    start = np.full(60_000, 0.3)
    right = solved(drift, square, start)
    for k, moment in ((1, right), (2, right**2)):
        apart = found[k] - moment.mean()
        assert abs(apart) < 3.3 * math.hypot(error[k], moment.std() / math.sqrt(len(start)))
    # The limit of N (k(r) - r) is the one that is stated.
    share = float(RHO**2 / (1 + RHO**2))
    r = np.linspace(-0.95, 0.95, 9)
    bent = (2 * BEND) ** 2 / (2 * math.pi) * (np.sqrt(1 - r**2) - r * np.arccos(r))
    whole = drift(r) + square(np.zeros(1))[()] * r * (1 - r**2) / 2
    np.testing.assert_allclose(whole, share * bent, rtol=1e-2)
    linear = solved(lambda r: drift(r) - share * bent[4], square, start)
    calm = solved(drift, lambda r: square(r) / 2, start)
    for wrong in (linear, calm):
        gaps = [abs(found[k] - (wrong**k).mean()) / error[k] for k in (1, 2)]
        assert max(gaps) > 5
    assert abs(found[3]) < 3.3 * error[3]


def test_the_law_of_the_length_of_linear_networks() -> None:
    """One layer of weights at rho = 1 and N = 60: mean and variance of ln G, to the order 1/N."""
    width, draws = 60, 6000
    for ops, count in (((LINEAR,), 1), ((LINEAR, LINEAR), 2)):
        net = ResNet(Branch(*ops), scale=1, depth=width)
        run = sample(net, READ, width, draws, K0=np.eye(2), seed=count)["ends"]
        limit = limit_of(*ops, rho=sp.Integer(1))
        mean = float(limit.log_drift.rhs.subs(N, width))
        variance = float(limit.log_diffusion.rhs)
        assert variance == (1.5, 2)[count - 1]
        assert abs(run.mean[3] - mean) < 3.3 * math.sqrt(variance / draws) + 3 / width
        own = run.mean[4] - run.mean[3] ** 2
        assert abs(own / variance - 1) < 3.3 * math.sqrt(2 / draws) + 3 / width
        other = 2 if count == 1 else 1.5
        assert abs(own / other - 1) > 3.3 * math.sqrt(2 / draws) + 3 / width


def test_shrinking_scales_are_the_limit_of_infinite_depth() -> None:
    ops, c = (LINEAR, RELU, Linear(2, 0)), sp.Symbol("c", positive=True)
    joint, deep = limit_of(*ops, rho=c), limit_of(*ops, rho=c / sp.sqrt(L))
    third, k = sp.Rational(1, 3), deep.noise.correlation.subs(R, sp.Rational(1, 3))
    # Products of k - r and 1/N are left out.
    factors = {
        "correlation_drift": 2 - third**2,
        "correlation_diffusion": third * (2 - 2 * third**2),
    }
    for name, factor in factors.items():
        first, own = (
            getattr(limit, name).closed().subs({R: third, N: 7}) for limit in (joint, deep)
        )
        apart = sp.limit(first / (7 * c**2), c, 0) - own
        assert float(7 * apart) == pytest.approx(float((k - third) * factor), rel=1e-9)


def test_refusals_and_text() -> None:
    deep = (LINEAR, RELU, LINEAR, RELU, LINEAR)
    for ops in ((Activation("erf"), LINEAR), (Linear(1, 0.1),), deep):
        with pytest.raises(UnsupportedError, match="several widths with one ratio"):
            limit_of(*ops)
    limit = limit_of(LINEAR)
    for solve in (
        lambda: solve_depth_limit(limit, K0=1.0),
        lambda: depth_paths(limit, K0=1.0, width=20, depths=[4, 8], draws=20),
        lambda: sample_depth_limit(limit, K0=1.0, width=20, steps=4, draws=20),
    ):
        with pytest.raises(UnsupportedError, match="of a JointLimit"):
            solve()
    assert len(list(limit)) == 4
    assert to_latex(limit).count(r"\mathrm{d}") >= 4
    assert "JointLimit" in repr(limit)
