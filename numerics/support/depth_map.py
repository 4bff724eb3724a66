"""Maps of the regimes of depth over beta and H, row by row, kept in a file and resumed from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from resexpand import Branch, FractionalBrownian, ResNet, evaluate, gradient_moments
from resexpand.progress import Progress, reporting
from support.kept import kept

L, BETA = sp.Symbol("L", integer=True, positive=True), sp.Symbol("beta", real=True)
QUANTITIES = ("forward", "gradient")


def family(branch: Branch, generator: str = "exact") -> ResNet:
    """Return the networks of scale ``L**(-beta)`` with fractional weights."""
    law = FractionalBrownian(sp.Symbol("H", positive=True), generator)
    return ResNet(branch, scale=L ** (-BETA), depth=L, layers=law)


def distances(net: ResNet, depth: int, betas: Sequence[float], H: float) -> dict[str, list[float]]:
    """Return ``log10 |h_L - h_0| / |h_0|`` and that of gradients, at infinite width."""
    given: dict[str, Any] = {"depth": depth, "beta": np.asarray(betas), "H": H, "K0": 1.0}
    with np.errstate(all="ignore"):
        # One pass over the kernel of two layers gives both.
        both = evaluate(gradient_moments(net), outputs=("K", "gradient"), **given)
        found = {"forward": both["K"][:, -1] - 1, "gradient": both["gradient"][:, 0] - 1}
        return {name: (np.log10(value) / 2).tolist() for name, value in found.items()}


def depth_map(
    branch: Branch,
    depth: int,
    betas: Sequence[float],
    exponents: Sequence[float],
    store: Path | None,
    progress: Progress = None,
    generator: str = "exact",
) -> dict[str, np.ndarray]:
    """Return maps of shape (len(exponents), len(betas)).

    Parameters
    ----------
    branch : Branch
        ``V relu(W h)``.
    depth : int
    betas, exponents : sequence of float
    store : Path or None
        File of finished rows.
    progress : callable or bool, optional
        Called with how many rows are done.
    generator : str
        Of `FractionalBrownian`.
    """
    settings = {"branch": repr(branch), "depth": depth, "betas": [float(b) for b in betas]}
    settings["generator"] = generator
    net, rows = family(branch, generator), []
    with reporting(progress) as done:
        for k, H in enumerate(map(float, exponents)):
            work = partial(distances, net, depth, betas, H)
            rows.append(kept(store, {**settings, "H": H}, work))
            done(k + 1, len(exponents))
    return {name: np.array([row[name] for row in rows]) for name in QUANTITIES}
