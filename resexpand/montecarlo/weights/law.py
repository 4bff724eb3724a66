"""`WeightLaw`: the law of the weights of a sampled network, and which samplers draw it exactly.

The description of a network says the variances of its weights. Other properties of their law
do not enter the theory of infinite width: for independent weights of mean zero and finite
variance, and for rotations, kernels and responses of wide networks are those of Gaussian weights.
At finite width the laws differ, from order 1/N on: `kurtosis` E w^4/(E w^2)^2 is what enters there
first, and what `evaluate` takes as ``weight_kurtosis=`` for the order 1/N of symmetric laws. So the
law is an argument of `sample`, where widths are finite. It holds for every `Linear` of the branch
and the read-out; the input h^0 and the biases are Gaussian throughout.

    gaussian     N(0, 1) entries; the action on a few columns can be drawn instead of the matrix,
                 because a rotation of Gaussian weights has the same law
    uniform      on +-sqrt(3)
    rademacher   +1 or -1
    orthogonal   sqrt(N) times a rotation, by the Haar measure; the same shortcut holds

all scaled by `sqrt(s/N)`, s being the `weight_variance` of the operation. A law of your own is an
inverse distribution function: `resexpand.montecarlo.weights.quantile.quantile_law`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from resexpand.errors import UnsupportedError

AUTO = "auto"
METHODS = ("function-space", "dense")
FACTORY = "linear, read_out = dense_sampler(entries, products)"
LOOPS = "resexpand.montecarlo.loops"
WEIGHTS = "resexpand.montecarlo.weights"
PRODUCTS = {"cpu": "tiles", "cuda": "rows"}
"""How each target multiplies with weights that are drawn in full."""


@dataclass(frozen=True)
class WeightLaw:
    """A law of weights.

    Attributes
    ----------
    name : str
        Name in settings; a part of the identity of a run.
    samplers : mapping
        Samplers that draw it exactly, the cheapest first, and the module each is in.
    reason : str
        Why ``method="auto"`` takes the first.
    kurtosis : float or None
        E w^4/(E w^2)^2 of an entry; infinite if the fourth moment is. None if it depends on N.
    entries : str
        Function that makes four entries from four random words in the dense sampler: the name of a
        function of `resexpand.montecarlo.weights.entries`, or empty.
    texts : tuple of str
        Functions that define `entries` where it is not one of those.
    remembers : bool
        Whether a sampler needs what it met in earlier layers.
    """

    name: str
    samplers: Mapping[str, str] = field(hash=False)
    reason: str
    kurtosis: float | None
    entries: str = ""
    texts: tuple[str, ...] = ()
    remembers: bool = False

    def imports(self, method: str, fused: bool, target: str = "cpu") -> str:
        """Return the import lines of a generated sampler; `fused` if it adds as it draws."""
        module = f"from resexpand.montecarlo.{self.samplers[method]} import "
        module += "memory_shape, " if self.remembers else ""
        if method == "dense" and self.entries:
            imported = "unit_uniform" if self.texts else f"{self.entries} as entries"
            lines = (
                f"{module}dense_sampler, workspace",
                f"from {WEIGHTS}.entries import {imported}",
                f"from {LOOPS}.products import products_by_{PRODUCTS[target]} as products",
            )
            return "\n".join(lines)
        return module + ("add_linear, " if fused else "") + "linear, read_out, workspace"

    def functions(self, method: str) -> tuple[str, ...]:
        """Return the texts that define the sampler's functions where they are not imported."""
        return (*self.texts, FACTORY) if method == "dense" and self.entries else ()


GAUSSIAN = WeightLaw(
    "gaussian",
    {"function-space": "loops.function_space", "dense": "loops.dense"},
    "the weights are Gaussian: their action on the columns is drawn, exactly and N times cheaper",
    3.0,
    "gaussian",
)
INDEPENDENT = "the weights are not Gaussian: their action on the columns has no law of its own"
UNIFORM = WeightLaw("uniform", {"dense": "loops.dense"}, INDEPENDENT, 1.8, "uniform")
RADEMACHER = WeightLaw("rademacher", {"dense": "loops.dense"}, INDEPENDENT, 1.0, "rademacher")
ORTHOGONAL = WeightLaw(
    "orthogonal",
    {"function-space": "weights.haar_columns", "dense": "weights.haar_householder"},
    "a rotation is uniform: its action on the columns is drawn, exactly and N times cheaper",
    None,
)
CORRELATED = WeightLaw(
    "gaussian",
    {
        "cholesky": "loops.correlated_cholesky",
        "basis": "loops.correlated_basis",
        "markov": "loops.correlated_markov",
        "dense": "loops.correlated",
    },
    "",
    3.0,
    "gaussian",
    remembers=True,
)
"""Gaussian weights with a covariance between layers, which the description states.
`resexpand.montecarlo.layer_methods` chooses among the samplers."""
LAWS = {law.name: law for law in (GAUSSIAN, UNIFORM, RADEMACHER, ORTHOGONAL)}


def chosen_method(method: object, law: WeightLaw) -> tuple[str, str]:
    """Return the sampler to use, and why.

    Raises
    ------
    UnsupportedError
        If there is no such sampler, or it cannot draw this law.
    """
    if method == AUTO:
        return next(iter(law.samplers)), law.reason
    if method not in METHODS or not isinstance(method, str):
        raise UnsupportedError(
            f"method={method!r}",
            "not available for sampling",
            "use 'auto' or " + " or ".join(map(repr, METHODS)),
        )
    if method not in law.samplers:
        raise UnsupportedError(
            f"method={method!r} with {law.name} weights",
            "the action of a weight matrix on a few columns can be drawn without the matrix only "
            "where rotating it leaves its law unchanged, as for Gaussian and orthogonal weights",
            'use method="dense", or "auto"',
        )
    return method, "as asked"
