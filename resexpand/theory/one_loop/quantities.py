r"""Quantities that live on layers: ``K^{l-1}``, ``T_{(2)}^{l}``, ``S^{l,m}``.

A `LayerQuantity` is a formal function of one or two layers. It is printed with the layers as upper
indices; what it stands for is said by the formula that defines it.
"""

from __future__ import annotations

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
    """A quantity at one or two layers: ``LayerQuantity(name, draw, *layers)``.

    ``name`` is a symbol among `HEADS`; ``draw`` is the place of a linear operation within its
    block, 0 if there is no choice.
    """

    is_commutative = True
    is_extended_real = True
    _diff_wrt = True

    @classmethod
    def eval(cls, name: sp.Expr, draw: sp.Expr, *layers: sp.Expr) -> None:
        """Never evaluates: the quantity is formal."""
        return

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """Symbols of the layers; the name is none."""
        layers: set[sp.Basic] = set()
        return layers.union(*(layer.free_symbols for layer in self.args[2:]))

    def _formula_latex(self, printer: Any, exp: str | None = None) -> str:
        name, draw, *layers = self.args
        lower = f"_{{({draw})}}" if draw != 0 else ""
        upper = ",".join(str(printer.doprint(layer)).replace(" ", "") for layer in layers)
        head = HEADS[str(name)]
        if "mathrm" in head:
            inner = rf"{head[:-1]}\bigl({head[-1]}{lower}^{{{printer.doprint(layers[0])}}}".replace(
                " ", ""
            )
            other = rf"{head[-1]}{lower}^{{{printer.doprint(layers[-1])}}}".replace(" ", "")
            return rf"N\,{inner}, {other}\bigr)" + (f"^{{{exp}}}" if exp else "")
        text = f"{head}{lower}^{{{upper}}}"
        return rf"\bigl({text}\bigr)^{{{exp}}}" if exp else text

    _latex = _formula_latex

    def _sympystr(self, printer: Any) -> str:
        name, draw, *layers = self.args
        inner = ", ".join(str(printer.doprint(layer)) for layer in layers)
        return f"{name}{draw if draw != 0 else ''}[{inner}]"


def quantity(name: str, *layers: sp.Expr, draw: int = 0) -> LayerQuantity:
    """Return a quantity at layers.

    Raises
    ------
    KeyError
        If the name is not among `HEADS`.
    """
    if name not in HEADS:
        raise KeyError(f"{name!r} is no quantity of a layer; there are {', '.join(HEADS)}")
    result: LayerQuantity = LayerQuantity(sp.Symbol(name), sp.Integer(draw), *layers)
    return result
