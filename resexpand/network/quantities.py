"""Vocabulary of quantities: their names in theories and samples, symbol and first layer.

Theories name their arrays by symbols (`K`), samples by words (`kernel`). A row of the table joins
the two and holds the statistic that the theory predicts. Results of theories accept the word, too:
``evaluate(kernel(net), K0=1.0)["kernel"]`` is its `K`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True)
class Quantity:
    """One array of a theory.

    Attributes
    ----------
    name : str
        Key in the result of `evaluate`.
    observables : tuple of str
        Names of its estimates; the first that was sampled counts.
    symbol : str
        Symbol in labels.
    statistic : str
        Statistic of a draw: ``"mean"``, ``"deviation"`` or ``"variance"``.
    part : str
        ``"all"`` layers of the estimate, the ``"last"``, or the ``"first column"`` of the theory;
        ``"sum"`` where there is no axis of layers.
    first : int
        Number of the first layer.
    lowest : int
        First number on the other axes: inputs from 1, orders from 0.
    width : str
        ``"infinite"``, or the theory of a given width that states it, ``"1/N"`` or ``"exact"``.
    """

    name: str
    observables: tuple[str, ...]
    symbol: str
    statistic: str = "mean"
    part: str = "all"
    first: int = 0
    lowest: int = 1
    width: str = "infinite"


KERNEL, COVARIANCE, RESPONSE = ("kernel",), ("layer_covariance",), ("response",)
TANGENT_KERNEL = ("ntk", "ntk_moments")


def _responses(
    name: str, observables: tuple[str, ...], symbol: str, part: str = "all"
) -> tuple[Quantity, Quantity]:
    """Return mean and deviation of a response at a width."""
    mean = Quantity(f"{name}_mean", observables, symbol, part=part, width="1/N")
    deviation = replace(mean, name=f"{name}_deviation", symbol=f"sd {symbol}")
    return mean, replace(deviation, statistic="deviation")


QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        quantity.name: quantity
        for quantity in (
            Quantity("K", KERNEL, "K"),
            Quantity("C", COVARIANCE, "C", first=1),
            Quantity("eta_layers", RESPONSE, "eta"),
            Quantity("eta", RESPONSE, "eta", part="last"),
            Quantity("chi", ("chi",), "chi", part="first column"),
            Quantity("chi_0", ("chi",), "chi"),
            Quantity("NTK", TANGENT_KERNEL, "NTK", part="sum"),
            Quantity("NTK_layers", ("ntk_layers",), "Theta"),
            Quantity("profile", ("order_profile", "path_profile"), "T", lowest=0),
            Quantity("remainder", ("order_remainder", "path_remainder"), "R", lowest=0),
            Quantity("K_width", KERNEL, "K", width="1/N"),
            Quantity("C_width", COVARIANCE, "C", first=1, width="1/N"),
            Quantity("K_deviation", KERNEL, "sd K", "deviation", width="1/N"),
            Quantity("C_deviation", COVARIANCE, "sd C", "deviation", first=1, width="1/N"),
            *_responses("chi_0", ("chi",), "chi"),
            *_responses("eta_layers", RESPONSE, "eta"),
            *_responses("eta", RESPONSE, "eta", "last"),
            *_responses("covariance_response", ("covariance_response",), "chi_12"),
            *_responses("tangent", ("tangent",), "v"),
            *_responses("gradient", ("gradient",), "P"),
            *_responses("ntk", TANGENT_KERNEL, "Theta"),
            Quantity("G_mean", KERNEL, "G", width="exact"),
            Quantity("C_mean", COVARIANCE, "C", first=1, width="exact"),
            Quantity("G_var", KERNEL, "Var G", "variance", width="exact"),
            Quantity("C_var", COVARIANCE, "Var C", "variance", first=1, width="exact"),
        )
    }
)
"""Every quantity by its name in the theory: the one place to add another."""


def quantity_of(name: str) -> Quantity:
    """Return the quantity of this name in theories or estimates; a new one if it is unknown.

    If several quantities share the estimate, the first is returned: the mean at infinite width.
    """
    known = QUANTITIES.get(name)
    if known is None:
        known = next((q for q in QUANTITIES.values() if name in q.observables), None)
    return known or Quantity(name, (name,), name)
