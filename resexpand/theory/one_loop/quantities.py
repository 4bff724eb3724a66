r"""Quantities that live on layers: ``K^{l-1}``, ``T_{(2)}^{l}``, ``S_{ab,cd}^{l,m}``.

A `LayerQuantity` is a formal function of one or two layers. It is printed with the layers as upper
indices; what it stands for is said by the formula that defines it. Gram matrices of several columns
have entries, which are lower indices: a pair of inputs, ``ab`` with ``a <= b``, or a letter ``p``
that runs over all of them, ``11, 12, ..., 1D, 22, ..., DD``, numbered from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp

HEADS = {
    "K": "K",
    "C": "C",
    "G": "G",
    "T": "T",
    "H": "H",
    "S": "S",
    "P": "P",
    "B": "B",
    "R": "R",
    "v": "v",
    "rho": r"\rho",
    "chi": r"\chi",
    "kappa": r"\gamma_{2}",
    "weights_kurtosis": r"\gamma_{2,w}",
    "kernel_covariance": r"\mathrm{Cov}K",
    "gram_covariance": r"\mathrm{Cov}C",
    "empirical_covariance": r"\mathrm{Cov}G",
    "kernel_mean": r"\delta K",
    "gram_mean": r"\delta C",
    "tadpole": r"\tau",
    "conditioning": r"\kappa",
    "Q": "Q",
    "W": "W",
    "Omega": r"\Omega",
    "four": r"\Gamma",
    "weights": r"\omega",
    "finite": r"\eta",
    "finite_shift": r"\delta\eta",
    "finite_variance": r"\Sigma",
}
"""How the head of each quantity is written. Covariances are times N, corrections ``delta``."""


class LayerQuantity(sp.Function):
    """A quantity at one or two layers: ``LayerQuantity(name, draw, (entries), *layers)``.

    ``name`` is a symbol among `HEADS`; ``draw`` is the place of a linear operation within its
    block, 0 if there is no choice; every entry is a symbol or the number of an entry, and a single
    input has none.
    """

    is_commutative = True
    is_extended_real = True
    _diff_wrt = True

    @classmethod
    def eval(cls, name: sp.Expr, draw: sp.Expr, entries: sp.Tuple, *layers: sp.Expr) -> None:
        """Never evaluates: the quantity is formal."""
        return

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """Symbols of the entries and layers; the name is none."""
        inside: set[sp.Basic] = set(self.args[2].free_symbols)
        return inside.union(*(layer.free_symbols for layer in self.args[3:]))

    def _formula_latex(self, printer: Any, exp: str | None = None) -> str:
        name, draw, entries, *layers = self.args
        place = f"({draw})" if draw != 0 else ""
        upper = [str(printer.doprint(layer)).replace(" ", "") for layer in layers]
        lower = [str(printer.doprint(entry)) for entry in entries]
        head = HEADS[str(name)]

        def written(stem: str, indices: list[str], layers: list[str]) -> str:
            below = r"\,".join(filter(None, (place, ",".join(indices))))
            return stem + (f"_{{{below}}}" if below else "") + f"^{{{','.join(layers)}}}"

        if "mathrm" in head:
            ends = [written(head[-1], lower[k:][:1], [upper[k]]) for k in (0, -1)]
            text = rf"N\,{head[:-1]}\bigl({', '.join(ends)}\bigr)"
            return text + (f"^{{{exp}}}" if exp else "")
        # A head with an index of its own keeps it in front.
        stem, _, index = head.partition("_")
        text = written(stem, [*filter(None, [index.strip("{}")]), *lower], upper)
        return rf"\bigl({text}\bigr)^{{{exp}}}" if exp else text

    _latex = _formula_latex

    def _sympystr(self, printer: Any) -> str:
        name, draw, entries, *layers = self.args
        inner = ", ".join(str(printer.doprint(layer)) for layer in layers)
        which = ",".join(str(printer.doprint(entry)) for entry in entries)
        return f"{name}{draw if draw != 0 else ''}{'_' * bool(which)}{which}[{inner}]"


def quantity(
    name: str, *layers: sp.Expr, entries: Iterable[sp.Expr] = (), draw: int = 0
) -> LayerQuantity:
    """Return a quantity at layers.

    Raises
    ------
    KeyError
        If the name is not among `HEADS`.
    """
    if name not in HEADS:
        raise KeyError(f"{name!r} is no quantity of a layer; there are {', '.join(HEADS)}")
    given = sp.Symbol(name), sp.Integer(draw), sp.Tuple(*entries)
    result: LayerQuantity = LayerQuantity(*given, *layers)
    return result
