r"""The covariance kernel at infinite width.

With fresh Gaussian weights in every layer, neurons become independent at infinite width and the
kernel ``K^l = lim h^l.h^l / N`` obeys a closed recursion. For a branch ``W phi(h) + b``

    C^l = sigma_w2 <phi phi>_{K^{l-1}} + sigma_b2,    K^l = K^{l-1} + rho^2 C^l.

Any other branch is a chain of the same two steps: a `Linear` turns the second moment of its input
into a Gaussian covariance, an `Activation` turns that into a second moment. If the branch ends in
an activation, the stream acquires a mean ``m^l`` and the cross term ``2 rho m <phi>`` appears.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast, overload

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.conventions import K0, PAIR, PAIR0, K
from resexpand.errors import HyperparameterError
from resexpand.network.operation import Noise
from resexpand.network.requirements import require_network
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.references import REFERENCES, Citation
from resexpand.theory.batch import (
    BatchRecursion,
    BatchSignal,
    Normalised,
    batch_recursion,
    batch_stream,
)
from resexpand.theory.coins import over_coins
from resexpand.theory.columns import (
    ColumnRecursion,
    ColumnSignal,
    column_recursion,
    column_stream,
    coupled,
)
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.layer_kernel import layer_kernel
from resexpand.theory.noise import Columns, averaged
from resexpand.theory.recursion import Output, Recursion
from resexpand.theory.signal import Entries, Signal, entry_symbols

AnySignal: TypeAlias = Signal | BatchSignal | Normalised | ColumnSignal
"""State that a branch carries from operation to operation."""

Inputs: TypeAlias = int | Literal["batch", "masks", "positions"]
"""Number of inputs, or what several columns are."""

TITLES = {
    1: "covariance kernel",
    2: "covariance kernel of two inputs",
    "masks": "covariance kernel of two draws of the masks",
    "test": "covariance kernel with and without masks",
    "batch": "covariance kernel of an exchangeable batch",
    "positions": "covariance kernel of all columns, two of them in formulas",
}


@dataclass
class Chain:
    """A signal carried through the operations of a branch.

    `definitions` holds the covariance behind every `Linear`, `linears` what it is made of: the
    second moment that the weights meet, and the variances of weights and biases.
    """

    net: ResNet
    hyper: Hyperparameters
    definitions: list[tuple[sp.Symbol, sp.Expr]] = field(default_factory=list)
    linears: dict[sp.Symbol, tuple[sp.Expr, sp.Expr, sp.Expr]] = field(default_factory=dict)

    def through_block(self, stream: AnySignal) -> AnySignal:
        """Return what the branch of a block makes of the stream.

        Where blocks differ in shape, each shape has its own definitions, and the number of the
        shape, a value per block, selects among them.
        """
        shapes = self.net.shapes
        if not shapes.of_block:
            return self.through_branch(stream, shapes.steps[0], "")[0]
        numbers = tuple(map(sp.Integer, shapes.of_block))
        selector = self.hyper.per_block(numbers, "shape", integer=True, nonnegative=True)
        found = [
            self.through_branch(stream, steps, str(number))
            for number, steps in enumerate(shapes.steps, start=1)
        ]
        covariances = _selected(selector, [covariance for _, covariance in found])
        symbols = entry_symbols("C", stream.names)
        self.definitions += zip(symbols, covariances, strict=True)
        outs = [signal for signal, _ in found]
        moments = _selected(selector, [signal.moments for signal in outs])
        means = _selected(selector, [signal.means for signal in outs])
        coins = tuple(coin for signal in outs for coin in signal.coins)
        found_all = Signal(moments, means, all(s.is_gaussian for s in outs), coins=coins)
        return replace(stream, signal=found_all) if isinstance(stream, ColumnSignal) else found_all

    def through_branch(
        self, signal: AnySignal, steps: tuple[Step, ...], shape: str
    ) -> tuple[AnySignal, Entries]:
        """Return what a branch makes of its input, and the covariance of its last `Linear`."""
        count = sum(step.contracts for step in steps)
        covariance: Entries = ()
        for step in steps:
            if step.contracts:
                last = step.number == count and not shape
                name = "C" if last else f"C{shape}{step.number}"
                signal = self._through_linear(step, name, signal)
                covariance = signal.moments
            else:
                signal = signal.mapped(step, self.hyper.of_step(step))
        return signal, covariance

    def _through_linear(self, step: Step, name: str, signal: AnySignal) -> AnySignal:
        weight, bias = self.hyper.variances(step.op, step.suffix)
        symbols = entry_symbols(name, signal.names)
        self.definitions += [
            (symbol, weight * coupled(step, moment) + bias)
            for symbol, moment in zip(symbols, signal.moments, strict=True)
        ]
        pairs = zip(symbols, signal.moments, strict=True)
        self.linears |= {symbol: (moment, weight, bias) for symbol, moment in pairs}
        return signal.contracted(symbols)


def _selected(selector: sp.Symbol, options: list[Entries]) -> Entries:
    """Return the entries of the option that a selector, a number from 0, stands for."""
    found = []
    for entries in zip(*options, strict=True):
        cases = [(entry, sp.Eq(selector, k)) for k, entry in enumerate(entries[:-1])]
        found.append(sp.Piecewise(*cases, (entries[-1], True)))
    return tuple(found)


def _next_covariance(net: ResNet, hyper: Hyperparameters, stream: AnySignal) -> Entries | None:
    """Return the covariance in the block that would come next, None where it is as any other."""
    if len(net.kinds) == 1:
        return None
    chain = Chain(net, hyper)
    # Block L + 1 repeats a block of the cycle, in general not the last one.
    _, covariance = chain.through_branch(stream, net.next_steps, "0")
    for symbol, value in reversed(chain.definitions):
        covariance = tuple(entry.xreplace({symbol: value}) for entry in covariance)
    return covariance


@overload
def kernel(net: ResNet, inputs: Literal["batch"]) -> BatchRecursion: ...
@overload
def kernel(net: ResNet, inputs: Literal["positions"]) -> ColumnRecursion: ...
@overload
def kernel(net: ResNet, inputs: int | Literal["masks"] = 1) -> Recursion: ...
def kernel(net: ResNet, inputs: Inputs = 1) -> Recursion:
    """Derive the covariance-kernel recursion at infinite width.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic.
    inputs : int, "masks", "batch" or "positions"
        1 for the kernel of one input, 2 for the 2 x 2 kernel of a pair. The pair recursion also
        serves any number of inputs: their kernel is determined pair by pair. ``"masks"`` is the
        2 x 2 kernel of one input under two independent draws of all noise (dropout masks).
        ``"batch"`` is for networks with averages over a batch: the recursion is that of
        exchangeable inputs (`resexpand.theory.batch`), and `evaluate` takes any kernel of a batch.
        ``"positions"`` is for networks with positions, of which every column counts: `evaluate`
        takes the kernel of D inputs at P positions, ``(D P, D P)`` (`resexpand.theory.columns`);
        with ``dK0=``, a change of it, also the change ``dK`` of every layer to first order.

    Returns
    -------
    Recursion
        Outputs ``K`` (layers ``0 .. L``, normalised by the width) and ``C`` (covariance of the
        last `Linear` of the branch, layers ``1 .. L + 1``; the last entry belongs to the read-out
        if the network has one, else to the block that would come next); for one input and a
        branch that ends in an activation also ``m``, the mean of the stream; for a batch ``K_13``,
        the covariance with an input of another batch. Its value is exact up to O(1/N). With
        stochastic depth the kernel is random at infinite width: `K` and `C` are means over the
        coins, and for one input ``K_var`` is the variance of `K`. With ``layers=`` it is a
        `resexpand.theory.layer_kernel.LayerKernel`, with the kernel of two layers ``K_layers``.

    Raises
    ------
    HyperparameterError
        If `inputs` is none of these, or a symbol of the network has the name of a quantity of the
        formulas, such as ``K``.
    UnsupportedError
        If an activation would act on what is not Gaussian at infinite width, such as a stream to
        which masked Gaussians were added; or if the mean over the coins of blocks does not obey a
        recursion of its own, because the kernel enters a block in a nonlinear way; or for several
        inputs where weights are correlated between layers.

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
    require_network(net, "the kernel")
    if inputs not in (1, 2, "masks", "batch", "positions"):
        raise HyperparameterError(
            f"a kernel recursion for {inputs} inputs",
            "the recursion closes on pairs",
            "use inputs=2: it serves any number of inputs",
        )
    if net.layers is not None and isinstance(inputs, int):
        of_layers: Any = layer_kernel(net, inputs=inputs)
        return cast(Recursion, of_layers)
    return mean_kernel(net, "masks" if inputs == "masks" else "inputs", inputs)


def mean_kernel(net: ResNet, columns: Columns, inputs: int | str) -> Recursion:
    """Derive the kernel, averaged over the coins of all blocks; see `conditional_kernel`."""
    recursion, coins = conditional_kernel(net, columns, inputs)
    return over_coins(recursion, coins) if coins else recursion


def conditional_kernel(
    net: ResNet, columns: Columns, inputs: int | str = 2
) -> tuple[Recursion, tuple[Noise, ...]]:
    """Derive the kernel given the coins of every block, and return these; see `kernel`.

    `columns` tells how the noise of two columns goes together.
    """
    hyper = Hyperparameters(net, coupled=inputs == "positions")
    rho = hyper.scale()
    chain = Chain(net, hyper)
    stream, initial, streams = _opening(net, inputs, columns)
    state: Any = stream.moments
    out = chain.through_block(stream)
    update = _with_means(state, (hyper.skip(), rho), out, streams)
    update = _normed(net, hyper, update, stream)
    hyper.input_kernel(PAIR0 if inputs == "batch" else initial)
    read_out = read_out_covariance(net, hyper, stream) or _next_covariance(net, hyper, stream)
    # Two draws of the masks have one variance, which comes first and last.
    kept = len(set(state))
    recursion = Recursion(
        title=TITLES[inputs],
        net=net,
        inputs=1 if len(set(initial)) == 1 else 2,
        state=state[:kept] + streams,
        initial=initial[:kept] + (sp.Integer(0),) * len(streams),
        update=update[:kept] + update[len(state) :],
        definitions=tuple(chain.definitions),
        outputs=_outputs(stream, streams, read_out),
        bindings=tuple(hyper.bindings.items()),
        layer_bindings=tuple(hyper.layer_bindings.items()),
        laws=laws_of(net),
        citations=citations_of(net),
    )
    if isinstance(stream, BatchSignal):
        return batch_recursion(recursion, stream), ()
    if isinstance(out, ColumnSignal):
        return column_recursion(recursion, out), ()
    return recursion, out.coins


STATES: dict[int | str, tuple[Entries, Entries]] = {
    1: ((K,), (K0,)),
    2: (PAIR, PAIR0),
    "masks": ((K, PAIR[1], K), (K0,) * 3),
    "test": (PAIR, (K0,) * 3),
}
"""State of a kernel recursion, and its values at layer 0."""


def _opening(
    net: ResNet, inputs: int | str, columns: Columns
) -> tuple[Signal | BatchSignal | ColumnSignal, Entries, tuple[sp.Symbol, ...]]:
    """Return the stream in symbols, its moments at layer 0, and the symbols of its means."""
    if inputs == "batch":
        return *batch_stream(net), ()
    if inputs == "positions":
        return column_stream(net), PAIR0, ()
    state, initial = STATES[inputs]
    streams = () if net.is_gaussian else mean_symbols(state)
    return _stream(net, state, streams, columns), initial, streams


def _stream(net: ResNet, state: Entries, means: Entries, columns: Columns = "inputs") -> Signal:
    if means:
        return Signal(state, means, is_gaussian=False, columns=columns)
    return replace(Signal.gaussian(state, columns), is_gaussian=not net.is_mixture)


def _outputs(stream: AnySignal, streams: Entries, read_out: Entries | None) -> tuple[Output, ...]:
    """Return what is read off the kernel recursion."""
    covariance = entry_symbols("C", stream.names)
    kernels = Output("K", "trajectory", stream.moments, meaning="covariance kernel of the stream")
    layers = Output(
        "C",
        "layer",
        covariance,
        at_end=read_out or covariance,
        meaning="covariance of the last linear operation of a block",
    )
    means = [Output("m", "trajectory", streams, meaning="mean of the stream")]
    return (kernels, layers, *(means if len(streams) == 1 else []))


def mean_symbols(state: Entries) -> tuple[sp.Symbol, ...]:
    """Return the means of the stream of one input or two, given its kernel."""
    names = ("m",) if len(state) == 1 else ("m_1", "m_2")
    return tuple(sp.Symbol(name, real=True) for name in names)


def _with_means(
    state: Entries, factors: tuple[sp.Expr, sp.Expr], out: AnySignal, streams: Entries
) -> Entries:
    """Return the update of the kernel, and of the means if the stream has any.

    `factors` are those of the stream and of the branch.
    """
    (skip, rho), moments, means = factors, out.moments, out.means
    if not streams:
        return tuple(skip**2 * k + rho**2 * v for k, v in zip(state, moments, strict=True))
    pairs = [(0, 0)] if len(state) == 1 else [(0, 0), (0, 1), (1, 1)]
    kernels = tuple(
        skip**2 * k + rho**2 * v + skip * rho * (streams[a] * means[b] + streams[b] * means[a])
        for k, v, (a, b) in zip(state, moments, pairs, strict=True)
    )
    return kernels + tuple(skip * m + rho * mean for m, mean in zip(streams, means, strict=True))


def _normed(net: ResNet, hyper: Hyperparameters, update: Entries, stream: AnySignal) -> Entries:
    """Return the update of the stream behind the map that follows every block."""
    size = len(stream.moments)
    means = update[size:]
    for step in net.post:
        before = stream.contracted(update)
        if isinstance(stream, Signal):
            before = _stream(net, update[:size], means, stream.columns)
        after = before.mapped(step, hyper.of_step(step))
        update = after.moments + (after.means if means else ())
    return update


def activation_labels(net: ResNet) -> dict[int, sp.Symbol]:
    """Return the label of every activation by its position in the branch: ``phi``, ``phi_2``."""
    steps = net.branch.steps
    return {step.position: step.label for step in steps if step.label is not None}


def laws_of(net: ResNet) -> tuple[tuple[sp.Symbol, ActivationLaw], ...]:
    """Return the activation law behind every label."""
    steps = (*(step for shape in net.shapes.steps for step in shape), *net.head)
    found = {step.label: step.op.law for step in steps if step.label is not None}
    found |= {s.gate: s.op.gates for s in steps if not s.contracts and s.op.gates is not None}
    return tuple(found.items())


def citations_of(net: ResNet) -> tuple[Citation, ...]:
    """Return what the mean-field theory of a network rests on."""
    keys = ["fischer2023"] + [key for _, law in laws_of(net) for key in law.citations]
    steps = (*(step for shape in net.shapes.steps for step in shape), *net.head, *net.post)
    keys += [key for step in steps if not step.contracts for key in step.op.sources]
    return tuple(Citation(REFERENCES[key]) for key in dict.fromkeys(keys))


def read_out_moment(net: ResNet, hyper: Hyperparameters, stream: AnySignal) -> Entries:
    """Return the second moment of what the read-out acts on: ``phi(h)`` or ``h`` itself."""
    for step in net.head:
        stream = stream.mapped(step, hyper.of_step(step))
    return tuple(averaged(moment, stream.coins) for moment in stream.moments)


def read_out_covariance(net: ResNet, hyper: Hyperparameters, stream: AnySignal) -> Entries | None:
    """Return the covariance of the read-out, or None if the network has none."""
    if net.read_out is None:
        return None
    weight, bias = hyper.variances(net.read_out, "_out")
    return tuple(weight * moment + bias for moment in read_out_moment(net, hyper, stream))


def stream_of(base: Recursion, columns: Columns = "inputs") -> Signal:
    """Return the signal that the state of a kernel recursion describes."""
    size = len(base.output("K").entries)
    means = () if base.net.is_gaussian else base.state[size:]
    return _stream(base.net, base.state[:size], means, columns)
