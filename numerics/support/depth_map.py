"""Maps of the regimes of depth over beta and H, row by row, kept in a file and resumed from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from resexpand import Branch, FractionalBrownian, ResNet, evaluate, gradient_moments, kernel
from resexpand.progress import Progress, reporting

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
        forward = evaluate(kernel(net), outputs="K", **given)["K"][:, -1]
        back = evaluate(gradient_moments(net), outputs="gradient", **given)["gradient"][:, 0]
        found = {"forward": forward - 1, "gradient": back - 1}
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
        File of finished rows; rows of other settings in it are left alone.
    progress : callable or bool, optional
        Called with how many rows are done.
    generator : str
        Of `FractionalBrownian`.
    """
    settings = {"branch": repr(branch), "depth": depth, "betas": [float(b) for b in betas]}
    settings["generator"] = generator
    known = _read(store, settings)
    net, rows = family(branch, generator), []
    with reporting(progress) as done:
        for k, H in enumerate(map(float, exponents)):
            if H not in known:
                known[H] = distances(net, depth, betas, H)
                _append(store, {**settings, "H": H, **known[H]})
            rows.append(known[H])
            done(k + 1, len(exponents))
    return {name: np.array([row[name] for row in rows]) for name in QUANTITIES}


def _read(store: Path | None, settings: dict[str, Any]) -> dict[float, dict[str, list[float]]]:
    """Return the finished rows of these settings; a line that was cut off is left out."""
    found: dict[float, dict[str, list[float]]] = {}
    if store is None or not store.exists():
        return found
    for line in store.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if all(row.get(name) == value for name, value in settings.items()):
            found[row["H"]] = {name: row[name] for name in QUANTITIES}
    return found


def _append(store: Path | None, row: dict[str, Any]) -> None:
    if store is None:
        return
    # A line that was cut off by an interrupted run ends here.
    known = store.read_bytes() if store.exists() else b""
    start = "\n" if known and not known.endswith(b"\n") else ""
    with store.open("a", encoding="utf-8") as file:
        file.write(start + json.dumps(row) + "\n")
