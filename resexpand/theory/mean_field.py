r"""The covariance kernel at infinite width.

With fresh Gaussian weights in every layer, neurons become independent at infinite width and the
kernel ``K^l = lim h^l.h^l / N`` obeys a closed recursion. For a branch ``W phi(h) + b``

    C^l = sigma_w2 <phi phi>_{K^{l-1}} + sigma_b2,    K^l = K^{l-1} + rho^2 C^l.

Any other branch is a chain of the same two steps: a `Linear` turns the second moment of its input
into a Gaussian covariance, an `Activation` turns that into a second moment. If the branch ends in
an activation, the stream acquires a mean ``m^l`` and the cross term ``2 rho m <phi>`` appears.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.conventions import K0, PAIR, PAIR0, K
from resexpand.errors import HyperparameterError
from resexpand.gaussian.expectation import mean_value, pair_moment, second_moment
from resexpand.network.ops import Activation
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.recursion import Output, Recursion

Entries = tuple[sp.Expr, ...]


@dataclass
class Chain:
    """Second moments carried through the operations of a branch.

    `moments` holds the entries 11 (one input) or 11, 12, 22 (two) of the current second moment;
    `means` the mean of every input's feature after an activation, else zero.
    """

    net: ResNet
    labels: dict[int, sp.Symbol]
    hyper: Hyperparameters
    definitions: list[tuple[sp.Symbol, sp.Expr]] = field(default_factory=list)

    def through_branch(self, kernel: Entries) -> tuple[Entries, Entries]:
        """Return second moment and means of the branch output for the kernel of its input."""
        moments, means = kernel, _zeros(kernel)
        linear_index = 0
        for index, op in enumerate(self.net.branch.ops):
            if isinstance(op, Activation):
                moments, means = _activated(self.labels[index], moments)
                continue
            linear_index += 1
            moments, means = self._through_linear(linear_index, moments), _zeros(kernel)
        return moments, means

    def _through_linear(self, index: int, moments: Entries) -> Entries:
        linears = self.net.branch.linears
        suffix = f"_{index}" if len(linears) > 1 else ""
        weight, bias = self.hyper.variances(linears[index - 1], suffix)
        name = "C" if index == len(linears) else f"C{index}"
        symbols = _entry_symbols(name, len(moments))
        self.definitions += [
            (symbol, weight * moment + bias)
            for symbol, moment in zip(symbols, moments, strict=True)
        ]
        return symbols


def _entry_symbols(name: str, count: int) -> tuple[sp.Symbol, ...]:
    if count == 1:
        return (sp.Symbol(name, positive=True),)
    return tuple(
        sp.Symbol(f"{name}_{entry}", **({"real": True} if entry == "12" else {"positive": True}))
        for entry in ("11", "12", "22")
    )


def _zeros(entries: Entries) -> Entries:
    return (sp.Integer(0),) * (1 if len(entries) == 1 else 2)


def _activated(label: sp.Symbol, covariance: Entries) -> tuple[Entries, Entries]:
    if len(covariance) == 1:
        return (second_moment(label, covariance[0]),), (mean_value(label, covariance[0]),)
    first, _, last = covariance
    moments = (
        second_moment(label, first),
        pair_moment(label, covariance),
        second_moment(label, last),
    )
    return moments, (mean_value(label, first), mean_value(label, last))


def kernel(net: ResNet, inputs: int = 1) -> Recursion:
    """Derive the covariance-kernel recursion at infinite width.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic.
    inputs : int
        1 for the kernel of one input, 2 for the 2 x 2 kernel of a pair. The pair recursion also
        serves any number of inputs: their kernel is determined pair by pair.

    Returns
    -------
    Recursion
        Outputs ``K`` (layers ``0 .. L``, normalised by the width) and ``C`` (covariance of the
        last `Linear` of the branch, layers ``1 .. L + 1``; the last entry belongs to the read-out
        if the network has one, else to the block that would come next); for one input and a
        branch that ends in an activation also ``m``, the mean of the stream. Its value is exact up
        to O(1/N).

    Raises
    ------
    HyperparameterError
        If `inputs` is neither 1 nor 2, or a symbol of the network has the name of a quantity of
        the formulas, such as ``K``.

    References
    ----------
    Fischer, Dahmen & Helias (2023) for the recursion; the closed averages as each activation says.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, kernel
    >>> net = ResNet(Branch(Activation("erf"), Linear()), scale=0.5, depth=3)
    >>> print(kernel(net).definitions[0][1])
    sigma_b2 + sigma_w2*<phi(x)**2>_[K]
    """
    if inputs not in (1, 2):
        raise HyperparameterError(
            f"a kernel recursion for {inputs} inputs",
            "the recursion closes on pairs",
            "use inputs=2: it serves any number of inputs",
        )
    state, initial = ((K,), (K0,)) if inputs == 1 else (PAIR, PAIR0)
    hyper = Hyperparameters(net)
    rho = hyper.scale()
    labels = activation_labels(net)
    chain = Chain(net, labels, hyper)
    moments, means = chain.through_branch(state)
    streams = _mean_symbols(inputs) if isinstance(net.branch.ops[-1], Activation) else ()
    update = _with_means(state, rho, moments, means, streams)
    hyper.input_kernel(initial)
    read_out = read_out_covariance(net, labels, hyper, state)
    return Recursion(
        title="covariance kernel" if inputs == 1 else "covariance kernel of two inputs",
        net=net,
        inputs=inputs,
        state=state + streams,
        initial=initial + (sp.Integer(0),) * len(streams),
        update=update,
        definitions=tuple(chain.definitions),
        outputs=_outputs(state, streams, read_out),
        bindings=tuple(hyper.bindings.items()),
        layer_bindings=tuple(hyper.layer_bindings.items()),
        laws=laws_of(net),
        citations=citations_of(net),
    )


def _outputs(state: Entries, streams: Entries, read_out: Entries | None) -> tuple[Output, ...]:
    """Return what is read off the kernel recursion."""
    covariance = _entry_symbols("C", len(state))
    kernels = Output("K", "trajectory", state, meaning="covariance kernel of the stream")
    layers = Output(
        "C",
        "layer",
        covariance,
        at_end=read_out or covariance,
        meaning="covariance of the last linear operation of a block",
    )
    means = [Output("m", "trajectory", streams, meaning="mean of the stream")]
    return (kernels, layers, *(means if len(streams) == 1 else []))


def _mean_symbols(inputs: int) -> tuple[sp.Symbol, ...]:
    names = ("m",) if inputs == 1 else ("m_1", "m_2")
    return tuple(sp.Symbol(name, real=True) for name in names)


def _with_means(
    state: Entries, rho: sp.Symbol, moments: Entries, means: Entries, streams: Entries
) -> Entries:
    """Return the update of the kernel, and of the means if the stream has any."""
    if not streams:
        return tuple(k + rho**2 * v for k, v in zip(state, moments, strict=True))
    pairs = [(0, 0)] if len(state) == 1 else [(0, 0), (0, 1), (1, 1)]
    kernels = tuple(
        k + rho**2 * v + rho * (streams[a] * means[b] + streams[b] * means[a])
        for k, v, (a, b) in zip(state, moments, pairs, strict=True)
    )
    return kernels + tuple(m + rho * mean for m, mean in zip(streams, means, strict=True))


def activation_labels(net: ResNet) -> dict[int, sp.Symbol]:
    """Return the label of every activation by its position in the branch: ``phi``, ``phi_2``."""
    positions = [i for i, op in enumerate(net.branch.ops) if isinstance(op, Activation)]
    names = ["phi" if n == 0 else f"phi_{n + 1}" for n in range(len(positions))]
    return {i: sp.Symbol(name) for i, name in zip(positions, names, strict=True)}


def laws_of(net: ResNet) -> tuple[tuple[sp.Symbol, ActivationLaw], ...]:
    """Return the activation law behind every label."""
    ops = net.branch.ops
    return tuple(
        (label, op.law)
        for i, label in activation_labels(net).items()
        if isinstance(op := ops[i], Activation)
    )


def citations_of(net: ResNet) -> tuple[Citation, ...]:
    """Return what the mean-field theory of a network rests on."""
    keys = ["fischer2023"] + [key for _, law in laws_of(net) for key in law.citations]
    return tuple(Citation(REFERENCES[key]) for key in dict.fromkeys(keys))


def read_out_moment(net: ResNet, labels: dict[int, sp.Symbol], state: Entries) -> Entries:
    """Return the second moment of what the read-out acts on: ``phi(h)`` or ``h`` itself."""
    if net.branch.reads_activation:
        return _activated(labels[0], state)[0]
    return state


def read_out_covariance(
    net: ResNet, labels: dict[int, sp.Symbol], hyper: Hyperparameters, state: Entries
) -> Entries | None:
    """Return the covariance of the read-out, or None if the network has none."""
    if net.read_out is None:
        return None
    weight, bias = hyper.variances(net.read_out, "_out")
    return tuple(weight * moment + bias for moment in read_out_moment(net, labels, state))
