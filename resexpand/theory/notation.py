r"""How symbols are written: from the names inside formulas to the notation of a paper.

    sigma_w2 -> \sigma_w^2        sigma_w2_1 -> \sigma_{w,1}^2      sigma_w2_out -> \sigma_out^2
    K0_12    -> K_{12}^{0}        K_star     -> K^{*}               chi_K_12     -> \chi_{12}
    G_mean   -> \mathrm{E}\, G    C_var      -> \mathrm{Var}\, C
    Theta_12 -> \Theta_{12}       NTK_12   -> \Theta_{y,12}       gain     -> \gamma
    kappa_1_3 -> \kappa_{1,3}     chaos_2    -> A_{2}               moment_0_2 -> a_{0,2}

A quantity that lives on a layer gets the layer as its upper index: ``K`` at layer ``l-1`` is
``K^{l-1}``, the response ``chi_K`` of layer ``l`` to the input is ``\chi^{l,0}``. Any other name is
written as `resexpand.theory.latex_names` says (``alpha_1`` becomes ``\alpha_{1}``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import sympy as sp

from resexpand.theory.latex_names import NamesPrinter, name_latex

VARIANCE = re.compile(r"sigma_?(?P<of>[a-z]+)2(?:_(?P<index>[A-Za-z0-9]+))?_*\Z")
_KERNEL = re.compile(r"(?P<stem>[KC])(?P<number>\d*)(?:_(?P<entry>\d\d))?\Z")
_MEAN = re.compile(r"m(?:_(?P<entry>\d))?\Z")
_TANGENT = re.compile(
    r"(?P<of>Theta|NTK|NNGP|gain|added_weights|added_biases)(?:_(?P<entry>\d\d))?\Z"
)
_TANGENT_HEADS = {
    "Theta": (r"\Theta", ""),
    "NTK": (r"\Theta", "y"),
    "NNGP": ("K", "y"),
    "gain": (r"\gamma", ""),
    "added_weights": ("a", "W"),
    "added_biases": ("a", "b"),
}
_RESPONSE = re.compile(r"chi_(?P<of>K|m)(?:_(?P<entry>\d+))?\Z")
_HEADS = {
    "ln_chi": (r"\ln \chi", True),
    "dK_drho": (r"\partial_\rho K", False),
    "dln_chi_drho": (r"\partial_\rho \ln \chi", True),
    "rho_eff": (r"\rho_{\mathrm{eff}}", False),
    "K_var": (r"\mathrm{Var}\, K", False),
    "K_cross": (r"K_{\mathrm{cross}}", False),
    "K_test": (r"K_{\mathrm{test}}", False),
    "G_mean": (r"\mathrm{E}\, G", False),
    "G_var": (r"\mathrm{Var}\, G", False),
    "G_cov": (r"\mathrm{Cov}\, G", False),
    "C_mean": (r"\mathrm{E}\, C", False),
    "C_var": (r"\mathrm{Var}\, C", False),
    "GC_cov": (r"\mathrm{Cov}(G, C)", False),
}
_PROFILE = re.compile(
    r"(?P<stem>kappa|chaos|paths|cross|shift|part|gate|moment|slope|square|mean)"
    r"(?P<number>\d*)(?P<indices>(?:_\d+)+)(?:_at(?P<place>\d+))?\Z"
)
_PROFILE_HEADS = {
    "kappa": r"\kappa",
    "chaos": "A",
    "paths": "P",
    "cross": "c",
    "shift": "m",
    "part": "u",
    "gate": "g",
    "moment": "a",
    "slope": "b",
    "square": "s",
    "mean": "e",
}
# A name in lower case alone (``rho_max``) or a letter with an index is left to SymPy.
_UPRIGHT = {"out", "in"}


@lru_cache(maxsize=4096)
def symbol_latex(name: str, layer: str = "") -> str:
    r"""Return how a symbol is written.

    Parameters
    ----------
    name : str
        Name of the symbol inside formulas.
    layer : str, optional
        Layer at which a quantity of the network is meant, as LaTeX (``"l-1"``). Without it the
        quantity stands for itself, as in a function of ``K``.

    Returns
    -------
    str
        LaTeX without delimiters.

    Examples
    --------
    >>> print(symbol_latex("sigma_w2_out"), symbol_latex("K_12", "l-1"), symbol_latex("K0"))
    \sigma_{\mathrm{out}}^{2} K_{12}^{l-1} K^{0}
    """
    if VARIANCE.match(name):
        return variance_latex(name, "2")
    if name == "K_star":
        return "K^{*}"
    return _of_layer(name, layer) or name_latex(name)


def variance_latex(name: str, power: str) -> str:
    r"""Return a power of the standard deviation behind a variance: ``\sigma_w^{4}``."""
    found = VARIANCE.match(name)
    if found is None:
        raise ValueError(f"{name} does not name a variance")
    of, index = found["of"], found["index"]
    # The read-out is what its weights are called after: sigma_out, not sigma_{w,out}.
    parts = [index] if of == "w" and index in _UPRIGHT else [p for p in (of, index) if p]
    written = [rf"\mathrm{{{part}}}" if part in _UPRIGHT else part for part in parts]
    return rf"\sigma_{{{','.join(written)}}}" + (f"^{{{power}}}" if power != "1" else "")


def _of_layer(name: str, layer: str) -> str:
    """Return a quantity of the network at a layer; empty if the name is none."""
    if name in _HEADS:
        head, responds = _HEADS[name]
        return head + _upper(f"{layer},0" if layer and responds else layer)
    if found := _RESPONSE.match(name):
        lower = found["entry"] or ("" if found["of"] == "K" else found["of"])
        return r"\chi" + _lower(lower) + _upper(f"{layer},0" if layer else "")
    if found := _MEAN.match(name):
        return "m" + _lower(found["entry"] or "") + _upper(layer)
    if found := _KERNEL.match(name):
        number, entry = found["number"], found["entry"] or ""
        if found["stem"] == "K" and number == "0":
            return "K" + _lower(entry) + _upper("0")
        inner = f"({number})" if number else ""
        return found["stem"] + _lower(",".join(filter(None, (inner, entry)))) + _upper(layer)
    return _of_tangents(name, layer) or _of_profile(name, layer)


def _of_tangents(name: str, layer: str) -> str:
    """Return a quantity of a tangent kernel; empty if the name is none."""
    found = _TANGENT.match(name)
    if found is None:
        return ""
    head, of = _TANGENT_HEADS[found["of"]]
    return head + _lower(",".join(filter(None, (of, found["entry"])))) + _upper(layer)


def _of_profile(name: str, layer: str) -> str:
    """Return a quantity of an order profile; empty if the name is none."""
    found = _PROFILE.match(name)
    if found is None:
        return ""
    inner = [f"({found[group]})" for group in ("number", "place") if found[group]]
    indices = ",".join([*inner, *found["indices"].strip("_").split("_")])
    return _PROFILE_HEADS[found["stem"]] + _lower(indices) + _upper(layer)


def _lower(index: str) -> str:
    return f"_{{{index}}}" if index else ""


def _upper(index: str) -> str:
    return f"^{{{index}}}" if index else ""


def in_notation(expression: sp.Expr) -> str:
    """Print an expression with SymPy's own printer, its symbols in the notation of the field."""
    names = {symbol: symbol_latex(symbol.name) for symbol in expression.atoms(sp.Symbol)}
    return str(NamesPrinter(names).doprint(expression))


class Written(sp.Symbol):
    r"""A symbol whose name is LaTeX and is written as it is, such as ``Written(r"R S R^{T}")``.

    The names of all other symbols are escaped (`resexpand.theory.latex_names`).
    """

    def _formula_latex(self, printer: Any, exp: str | None = None) -> str:
        return str(self.name) if exp is None else f"({self.name})^{{{exp}}}"
