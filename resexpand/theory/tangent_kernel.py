r"""The neural tangent kernel at infinite width.

The tangent kernel of an output is the sum over parameters of products of its derivatives,
``Theta_ab = sum_theta (dy_a/dtheta) (dy_b/dtheta)``. A parameter moves the stream along a tangent
that is independent of it, so that averages over the neurons stand still and a map passes the
covariance of two tangents on by the derivative of its second moment with respect to ``K_12`` alone.
For a branch ``W phi(h) + b``

    Theta^0 = K^0,   Theta^l = Theta^{l-1} + rho^2 (sigma_w2 <phi' phi'> Theta^{l-1} + C^l),

and the read-out follows as one more linear operation. In other words, Theta is the derivative of
the covariance of two outputs along all that it is made of: the 12 entry at the read-in, and what
weights and biases add to the 12 entry behind every `Linear`.

Two parametrisations say what is trained, and with which weight:

- ``"ntk"``: weights are ``sqrt(sigma_w2 / fan-in)`` and biases ``sqrt(sigma_b2)`` times parameters
  of unit variance. A `Linear` adds its covariance, ``sigma_w2 <phi phi> + sigma_b2``.
- ``"standard"``: weights and biases are the parameters. A `Linear` of fan-in n adds
  ``n <phi phi> + 1``: n is the width N (``width=``), and ``d_in`` behind a read-in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

import sympy as sp

from resexpand.conventions import K0, PAIR, PAIR0, WIDTH
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.gaussian.expectation import merged
from resexpand.network.requirements import require_network, require_no_noise, require_one_of
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import Chain, kernel, read_out_moment, stream_of
from resexpand.theory.layer_kernel import LayerKernel, layer_kernel
from resexpand.theory.recursion import Output, Recursion
from resexpand.theory.signal import entry_symbols

Trainable = Literal["read_in", "weights", "biases", "read_out"]
Parametrisation = Literal["ntk", "standard"]
TRAINABLE: tuple[str, ...] = get_args(Trainable)
D_IN = sp.Symbol("d_in", integer=True, positive=True)
"""Numbers per input, the fan-in of a read-in."""

STEM, TITLE = "Theta", "tangent kernel"
ZERO, ONE = sp.Integer(0), sp.Integer(1)
Tangents = Mapping[sp.Symbol, sp.Expr]


@dataclass(frozen=True, repr=False)
class TangentKernel(Recursion):
    """The recursion of a tangent kernel.

    Attributes
    ----------
    trained : tuple of str
        What is trained.
    parametrisation : str
        ``"ntk"`` or ``"standard"``.
    read_in_biases : sympy.Expr
        What the biases of the read-in add to the tangent kernel at layer 0.
    """

    trained: tuple[str, ...] = TRAINABLE
    parametrisation: str = "ntk"
    read_in_biases: sp.Expr = ZERO


def tangent_kernel(
    net: ResNet,
    inputs: int = 1,
    trained: str | Iterable[str] = TRAINABLE,
    parametrisation: str = "ntk",
) -> TangentKernel:
    r"""Derive the neural tangent kernel at infinite width.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic. Without a `read_in` the stream at layer 0
        counts as that of weights without biases, without a `read_out` the output is read with
        unit weights.
    inputs : int
        1, or 2 for pairs, which serve any number of inputs: `evaluate` takes a kernel of shape
        (D, D) or a data set, and with ``others=`` two data sets.
    trained : str or iterable of str
        Parameters that are trained: of ``"read_in"``, ``"weights"`` and ``"biases"`` of the
        blocks, and ``"read_out"``; all of them by default.
    parametrisation : {"ntk", "standard"}
        Weights as multiples of parameters of unit variance, or the parameters themselves. The
        second needs ``width=`` when it is evaluated; a `Linear` whose bias variance is the number
        zero has no biases, one with a symbol that has the value zero has biases that begin there.

    Returns
    -------
    TangentKernel
        A `Recursion` with the outputs ``NTK``, the tangent kernel of one output component, and
        ``NNGP``, its covariance; ``Theta`` and ``K``, tangent kernel and kernel of the stream at
        layers ``0 .. L``; ``gain``, ``added_weights`` and ``added_biases`` of the blocks ``1 .. L``
        and of the read-out: the factor of the tangent kernel that is passed on, and what the
        parameters there add. `evaluate` forms of them ``NTK_layers``, ``NTK_weights`` and
        ``NTK_biases``, the shares of read-in (0), blocks and read-out (L + 1) in ``NTK``, and
        leaves out what has a layer axis where that would be large and no outputs are named. With
        ``width``, for one input and all parameters in the parametrisation ``"ntk"``, it adds what
        `finite_response` has of order 1/N: ``ntk_mean``, ``ntk_deviation``, ``relative_error``.
        With ``layers=`` it is a `resexpand.theory.layer_kernel.LayerKernel`, for all parameters in
        the first parametrisation: ``NTK``, ``NNGP`` and ``K``.

    Raises
    ------
    HyperparameterError
        If `inputs`, `trained` or `parametrisation` is none of these, or the standard
        parametrisation would train a read-in that the network has not.
    UnsupportedError
        If operations draw noise or couple the inputs of a batch; when it is evaluated or unrolled,
        if an activation jumps.

    References
    ----------
    Jacot, Gabriel & Hongler (2018), theorem 1; Sohl-Dickstein et al. (2020), section 2, for the
    standard parametrisation.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, tangent_kernel
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    >>> tangent_kernel(net).unroll(2)["NTK"]
    [6*K0]
    """
    require_network(net, "the tangent kernel")
    if inputs not in (1, 2):
        raise HyperparameterError(
            f"a tangent kernel of {inputs} inputs",
            "the recursion closes on pairs",
            "use inputs=2: it serves any number of inputs",
        )
    chosen = _chosen(trained)
    if net.layers is not None:
        of_layers: Any = _of_layers(net, inputs, chosen, parametrisation)
        return cast(TangentKernel, of_layers)
    require_one_of(parametrisation, Parametrisation, "the parametrisation")
    steps = (*(step for branch in net.kinds for step in branch.steps), *net.head)
    require_no_noise(steps, f"the {TITLE}")
    return _Derivation(net, chosen, parametrisation).recursion(inputs)


def _of_layers(
    net: ResNet, inputs: int, trained: tuple[str, ...], parametrisation: str
) -> LayerKernel:
    """Return the tangent kernel of a network whose weights are correlated between layers."""
    if trained != TRAINABLE or parametrisation != "ntk":
        raise UnsupportedError(
            f"the {TITLE} of {', '.join(trained)} ({parametrisation}) with layers={net.layers!r}",
            "with correlated layers it is derived for all parameters, of unit variance",
            "take the defaults",
        )
    return layer_kernel(net, "ntk", inputs)


def _chosen(trained: str | Iterable[str]) -> tuple[str, ...]:
    """Return what is trained, in the order of the layers."""
    asked = [trained] if isinstance(trained, str) else list(trained)
    unknown = [name for name in asked if name not in TRAINABLE]
    if unknown or not asked:
        raise HyperparameterError(
            f"trained={trained!r}",
            f"{unknown[0]!r} names no parameters" if unknown else "nothing would be trained",
            f"use some of {TRAINABLE}",
        )
    return tuple(name for name in TRAINABLE if name in asked)


class _Derivation:
    """Derives the tangent kernel of a pair, of which that of one input is the case of equal ones.

    All expressions are of the 12 entry; `of_input` gives the others.
    """

    def __init__(self, net: ResNet, trained: tuple[str, ...], parametrisation: str) -> None:
        self.net, self.trained, self.parametrisation = net, trained, parametrisation
        self.base = kernel(net, inputs=2)
        self.hyper = Hyperparameters(net, dict(self.base.bindings), dict(self.base.layer_bindings))
        self.chain = Chain(net, self.hyper)
        self.chain.through_block(stream_of(self.base))
        self.thetas = entry_symbols(STEM, ("11", "12", "22"))
        if net.read_out is None:
            self.variances: tuple[sp.Expr, sp.Expr] = (ONE, ZERO)
        else:
            self.variances = self.hyper.variances(net.read_out, "_out")
        self.moment = read_out_moment(net, self.hyper, stream_of(self.base))[1]

    def recursion(self, inputs: int) -> TangentKernel:
        """Return the recursion of one input or of two."""
        theta, no_weights, no_biases = self.thetas[1], ("biases",), ("weights",)
        update = self.base.update[1]
        start, read_in_biases = self.read_in()
        weight, bias = self.variances
        ends = self.added(self.moment, weight, bias, "read_out")
        gain_out = weight * self.moment.diff(PAIR[1])
        own = {
            "NTK": (gain_out * theta + sum(ends),),
            "NNGP": (weight * self.moment + bias,),
            "gain": (self.moved(update, ONE, ()), gain_out),
            "added_weights": (self.moved(update, ZERO, no_biases), ends[0]),
            "added_biases": (self.moved(update, ZERO, no_weights), ends[1]),
        }
        moved = self.moved(update, theta, ("weights", "biases"))
        base = self.base if inputs == 2 else kernel(self.net, inputs=1)
        names = ("11", "12", "22") if inputs == 2 else ("",)
        rename = _Renaming(self.base, base)
        thetas = entry_symbols(STEM, names)
        starts = tuple(rename.initial(start, name) for name in names)

        def entries(expression: sp.Expr) -> tuple[sp.Expr, ...]:
            return tuple(rename.of_input(expression, name) for name in names)

        outputs = [
            Output("NTK", "final", entries(own["NTK"][0]), meaning="tangent kernel of an output"),
            Output("NNGP", "final", entries(own["NNGP"][0]), meaning="covariance of an output"),
            Output(STEM, "trajectory", thetas, meaning="tangent kernel of the stream"),
            base.output("K"),
        ]
        for name, meaning in MEANINGS.items():
            layer, end = (entries(expression) for expression in own[name])
            outputs.append(Output(name, "layer", layer, at_end=end, meaning=meaning))
        return TangentKernel(
            **{
                **{f.name: getattr(base, f.name) for f in fields(Recursion)},
                "title": base.title.replace("covariance kernel", TITLE),
                "state": (*base.state, *thetas),
                "initial": (*base.initial, *starts),
                "update": (*base.update, *entries(moved)),
                "outputs": tuple(outputs),
                "bindings": self.bindings(base),
                "citations": self.citations(base),
            },
            trained=self.trained,
            parametrisation=self.parametrisation,
            read_in_biases=read_in_biases,
        )

    def moved(self, expression: sp.Expr, theta: sp.Expr, kinds: tuple[str, ...]) -> sp.Expr:
        """Return the tangent of a 12 entry of a block, `theta` being that of the stream.

        `kinds` are the parameters of the block whose own share is counted.
        """
        tangents: dict[sp.Symbol, sp.Expr] = {PAIR[1]: theta}
        for symbol, value in self.chain.definitions:
            if symbol.name.endswith("_12"):
                tangents[symbol] = _along(value, tangents)
                if symbol in self.chain.linears:
                    tangents[symbol] += self._own(symbol, kinds)
        return _along(expression, tangents)

    def _own(self, symbol: sp.Symbol, kinds: tuple[str, ...]) -> sp.Expr:
        """Return what the trained parameters of a `Linear` add behind it."""
        moment, weight, bias = self.chain.linears[symbol]
        counted = [kind for kind in kinds if kind in self.trained]
        if self.parametrisation == "ntk" and len(counted) == 2:
            return symbol
        parts = dict(zip(("weights", "biases"), self._shares(moment, weight, bias), strict=True))
        return sum((parts[kind] for kind in counted), ZERO)

    def added(
        self, moment: sp.Expr, weight: sp.Expr, bias: sp.Expr, group: str
    ) -> tuple[sp.Expr, sp.Expr]:
        """Return what weights and biases of a group add; zero if it is not trained."""
        return self._shares(moment, weight, bias) if group in self.trained else (ZERO, ZERO)

    def _shares(self, moment: sp.Expr, weight: sp.Expr, bias: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        if self.parametrisation == "ntk":
            return weight * moment, bias
        return WIDTH * moment, self._one_if_any(bias)

    def _one_if_any(self, bias: sp.Expr) -> sp.Expr:
        """Return what biases add in the standard parametrisation: nothing where there are none."""
        value = self.hyper.bindings.get(bias, self.hyper.layer_bindings.get(bias, bias))
        return ZERO if value == 0 else ONE

    def read_in(self) -> tuple[sp.Expr, sp.Expr]:
        """Return the tangent kernel at layer 0, and what the biases there add to it."""
        if "read_in" not in self.trained:
            return ZERO, ZERO
        covariance, linear = PAIR0[1], self.net.read_in
        if self.parametrisation == "ntk":
            return covariance, ZERO if linear is None else linear.bias_variance
        if linear is None:
            raise HyperparameterError(
                f"the {TITLE} of a trained read-in in the standard parametrisation",
                "the network has no read_in, whose fan-in would count",
                "describe it with read_in=Linear(...), or leave 'read_in' out of trained",
            )
        weight, bias = self.hyper.variances(linear, "_in")
        biases = self._one_if_any(bias)
        return D_IN * (covariance - bias) / weight + biases, biases

    def bindings(self, base: Recursion) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
        """Return the hyperparameters, and the fan-ins that the standard parametrisation counts."""
        found = dict(base.bindings)
        found |= {s: v for s, v in self.hyper.bindings.items() if s not in PAIR0}
        if self.parametrisation == "standard":
            found |= {WIDTH: WIDTH}
            found |= {D_IN: D_IN} if "read_in" in self.trained else {}
        return tuple(found.items())

    def citations(self, base: Recursion) -> tuple[Citation, ...]:
        """Return where the equations stand."""
        keys = ["jacot2018"] + ["sohldickstein2020"] * (self.parametrisation == "standard")
        return (*(Citation(REFERENCES[key]) for key in keys), *base.citations)


MEANINGS = {
    "gain": "factor of the tangent kernel that a block or the read-out passes on",
    "added_weights": "what the weights there add to the tangent kernel",
    "added_biases": "what the biases there add to the tangent kernel",
}


def _along(expression: sp.Expr, tangents: Tangents) -> sp.Expr:
    """Return the derivative of an expression along tangents of its symbols."""
    return sp.Add(*(expression.diff(symbol) * value for symbol, value in tangents.items()))


class _Renaming:
    """Turns expressions of the 12 entry into those of one input, or leaves them.

    `pair` is the recursion they are of, `base` that of the symbols they get.
    """

    def __init__(self, pair: Recursion, base: Recursion) -> None:
        self.pair, self.base = _quantities(pair), _quantities(base)

    def initial(self, value: sp.Expr, name: str) -> sp.Expr:
        """Return a value at layer 0."""
        places = dict(zip(("11", "12", "22", ""), (*PAIR0, K0), strict=True))
        return value.xreplace({PAIR0[1]: places[name]})

    def of_input(self, expression: sp.Expr, name: str) -> sp.Expr:
        """Return the expression where both inputs are the first, the second, or the only one."""
        if name == "12":
            return expression
        single = merged(expression, -1 if name == "22" else 0)
        return single.xreplace(self._alike(name))

    def _alike(self, name: str) -> dict[sp.Basic, sp.Basic]:
        """Return what every quantity of the pair is where both inputs are one."""
        found: dict[sp.Basic, sp.Basic] = {}
        for old, symbol in self.pair.items():
            stem, _, _ = old.rpartition("_")
            index = name[:1] if stem == "m" else name
            found[symbol] = self.base[f"{stem}_{index}" if index else stem]
        return found


def _quantities(recursion: Recursion) -> dict[str, sp.Symbol]:
    """Return the quantities of a kernel recursion and of the tangent kernel, by name."""
    names = ("11", "12", "22") if recursion.inputs == 2 else ("",)
    thetas = entry_symbols(STEM, names)
    symbols = (*recursion.state, *(symbol for symbol, _ in recursion.definitions), *thetas)
    return {symbol.name: symbol for symbol in symbols}
