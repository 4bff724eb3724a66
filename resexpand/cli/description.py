"""From the options of a command to a network and the values to evaluate it at.

A hyperparameter with one value goes into the network as an exact number. One with several values
stays a symbol there and spans an axis of a grid, in the order rho, weight variance, bias variance,
K0. The depths are looped over, since arrays of different depths have different shapes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from resexpand.cli.values import Exact, integers, matrix, number, numbers, split
from resexpand.conventions import DEPTH, RHO, SIGMA_B2, SIGMA_W2
from resexpand.errors import HyperparameterError
from resexpand.network.activation import Activation
from resexpand.network.files import array_file
from resexpand.network.layer_registry import LayerMatrix, law_of_text
from resexpand.network.layers import LayerLaw
from resexpand.network.linear import Linear
from resexpand.network.operation import Operation
from resexpand.network.positions import read_positions
from resexpand.network.registry import OPERATIONS
from resexpand.network.resnet import Branch, ResNet

DEFAULTS = {"rho": "1", "depth": "20", "weight_variance": "1", "bias_variance": "0"}
"""Defaults of commands that compute numbers; K0 is 1."""

_SYMBOLS = {"rho": RHO, "weight_variance": SIGMA_W2, "bias_variance": SIGMA_B2}


TOGETHER = ("batch", "masks")
"""Words for `--inputs`: a batch with the kernel `--K0`, and one input under two masks."""


@dataclass(frozen=True)
class Request:
    """The network and the values that options describe.

    Attributes
    ----------
    options : mapping
        Activation, linear maps and the values of every hyperparameter.
    depths : tuple of int
        Number of blocks, one answer each; empty if it stays a symbol.
    axes : mapping
        Name of the symbol to the values along its axis of the grid.
    kernel : ndarray or None
        Kernel at layer 0, a number or a matrix; None if it is swept or given by `inputs`.
    inputs : ndarray or None
        Data, one input per row.
    together : str
        ``"batch"`` or ``"masks"`` where the kernel is that of a batch or of two masks, else empty.
    """

    options: Mapping[str, Any]
    depths: tuple[int, ...]
    axes: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    kernel: npt.NDArray[np.float64] | None = None
    inputs: npt.NDArray[np.float64] | None = None
    together: str = ""

    @property
    def pairs(self) -> bool:
        """Whether the kernel is a matrix over inputs."""
        if self.inputs is not None:
            return len(self.inputs) > 1
        return self.kernel is not None and self.kernel.ndim == 2

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape spanned by the axes."""
        return tuple(len(values) for values in self.axes.values())

    def net(self, depth: int | sp.Symbol = DEPTH) -> ResNet:
        """Return the network at a depth."""
        o = self.options
        own = o["branch"]
        if own is None:
            own = Branch(o["activation"], Linear(o["weight_variance"], o["bias_variance"]))
        read_out = None if o["read_out"] is None else own.followed_by(o["read_out"])
        names = ("read_in", "post_norm", "positions", "layers")
        ends = {"read_out": read_out, **{name: o.get(name) for name in names}}
        return ResNet(own, scale=o["rho"], depth=depth, **ends)

    @property
    def columns(self) -> Any:
        """Argument `inputs` of `kernel`: a number, positions, a batch, or masks."""
        if self.together:
            return self.together
        return "positions" if self.options["positions"] else 1 + self.pairs

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of `evaluate`: each axis in its own dimension, and the inputs."""
        count = len(self.axes)
        shaped: dict[str, Any] = {
            name: values.reshape([-1 if i == k else 1 for i in range(count)])
            for k, (name, values) in enumerate(self.axes.items())
        }
        if self.inputs is not None:
            shaped["inputs"] = self.inputs
        elif self.kernel is not None:
            shaped["K0"] = self.kernel if self.kernel.ndim else float(self.kernel)
        return shaped

    def settings(self) -> dict[str, Any]:
        """Return the description as plain values, for a record."""
        o = self.options
        branch = {"branch": [repr(op) for op in o["branch"].ops]} if o["branch"] else {}
        post_norm = o.get("post_norm")
        shape = None if self.inputs is None else {"shape": list(self.inputs.shape)}
        return {
            **(branch or {"activation": o["activation"].name}),
            **({} if post_norm is None else {"post_norm": repr(post_norm)}),
            **({} if o.get("layers") is None else {"layers": repr(o["layers"])}),
            **({"positions": list(o["positions"])} if o.get("positions") else {}),
            **{name: o[name] for name in _SYMBOLS if name in o},
            "depths": list(self.depths),
            "axes": dict(self.axes),
            "K0": self.kernel,
            "inputs": self.together or shape,
            "read_in_variance": None if o["read_in"] is None else o["read_in"].weight_variance,
            "read_out_variance": None if o["read_out"] is None else o["read_out"].weight_variance,
        }


def request(arguments: argparse.Namespace, *, symbolic: bool = False) -> Request:
    """Read the options of a command.

    Parameters
    ----------
    arguments : argparse.Namespace
        Options as text.
    symbolic : bool
        Whether what is not given stays a symbol, instead of taking its default.

    Raises
    ------
    ResexpandError
        If an option has no meaning, naming it.
    """
    options: dict[str, Any] = {"branch": None, "activation": activation(arguments.activation)}
    axes: dict[str, npt.NDArray[np.float64]] = {}
    if arguments.branch is not None:
        options["branch"] = branch(arguments.branch)
        refuse_variances(arguments)
    for name, symbol in _SYMBOLS.items():
        if options["branch"] and name != "rho":
            continue
        values = _given(arguments, name, symbolic)
        options[name] = values[0] if len(values) == 1 else symbol
        if len(values) > 1:
            axes[symbol.name] = np.array([float(value) for value in values])
        _check_variance(name, values)
    together = _together(arguments)
    options["read_in"], inputs = (None, None) if together else inputs_of(arguments)
    options["post_norm"] = post_norm(arguments)
    options["layers"] = _layers(getattr(arguments, "layers", None))
    options["positions"] = positions(arguments)
    options["read_out"] = _linear(arguments.read_out_variance, "--read-out-variance")
    kernel = None if symbolic or inputs is not None else _kernel(arguments.K0, axes)
    return Request(options, _depths(arguments.depth, symbolic), axes, kernel, inputs, together)


def _together(arguments: argparse.Namespace) -> str:
    """Return ``"batch"`` or ``"masks"`` if the kernel of these is asked for, else nothing."""
    if arguments.inputs not in TOGETHER:
        return ""
    if arguments.command != "kernel":
        raise HyperparameterError(
            f"--inputs {arguments.inputs} with {arguments.command}",
            "it is the kernel that is known of them",
            f"use 'resexpand kernel --inputs {arguments.inputs}'",
        )
    return str(arguments.inputs)


def activation(text: str) -> Activation:
    """Return a registered activation, or the one that an expression in ``x`` defines."""
    return Activation(text)


def branch(text: str) -> Branch:
    """Return the branch of a list of operations, ``linear(1, 0.1), tanh, linear(1.2, 0)``.

    The structure of an operation stands in brackets, ``Conv[-1 0 1](2, 0)``.

    Raises
    ------
    ResexpandError
        If a part is neither a registered operation with numbers nor an activation.
    """
    separator = ";" if ";" in text else ","
    return Branch(*(_operation(part.strip()) for part in split(text, separator)))


def caption(arguments: argparse.Namespace, *, scale: bool = True) -> str:
    """Return the setting of a figure in one line; mathtext between dollar signs."""
    symbols = {"weight_variance": r"\sigma_w^2", "bias_variance": r"\sigma_b^2", "K0": "K^0"}
    if arguments.branch is not None:
        symbols = {"K0": "K^0"}
    if arguments.inputs is not None:
        symbols.pop("K0")
    symbols |= {"rho": r"\rho"} if scale else {}
    said = [(arguments.branch or arguments.activation).replace("_", " ")]
    for name, symbol in symbols.items():
        said.append(f"${symbol} =$ {getattr(arguments, name) or DEFAULTS.get(name, '1')}")
    return ", ".join(said)


def post_norm(arguments: argparse.Namespace) -> Any:
    """Return the normalisation of the stream that ``--post-norm`` describes, None without one."""
    text = getattr(arguments, "post_norm", None)
    return None if text is None else _operation(text.strip())


def positions(arguments: argparse.Namespace) -> Any:
    """Return the shape of an input that ``--positions`` gives, None without one."""
    sheet = getattr(arguments, "positions", None)
    return None if sheet is None else read_positions(f"on {sheet}")[1]


def _operation(text: str) -> Operation:
    """Return an operation by its kind with its parameters, or an activation."""
    form = re.fullmatch(r"(\w+)(?:\[([^]]*)\])?(?:\((.*)\))?", text, re.DOTALL)
    kinds = {kind.lower(): kind for kind in OPERATIONS}  # those registered by now
    kind = "" if form is None else kinds.get(form[1].lower(), "")
    if form is None or not kind or kind == Activation.kind:
        return activation(text)
    given: list[sp.Expr] = []
    named: dict[str, Any] = {}
    words = {word for p in OPERATIONS[kind].parameters for word, _ in p.words}
    for part in split(form[3], ",") if (form[3] or "").strip() else ():
        name, equals, value = part.rpartition("=")
        if equals:
            own = value.strip()
            named[name.strip()] = own if own in words else number(own, f"--branch {name.strip()}")
        else:
            given.append(number(part, f"--branch {form[1]}"))
    if form[2] is None:
        return OPERATIONS[kind](*given, **named)
    return OPERATIONS[kind].of_structure(form[2], tuple(given), **named)


def _layers(text: str | None) -> LayerLaw | None:
    """Return the covariance between layers that ``--layers`` names."""
    if text is None:
        return None
    if text.strip().lower().endswith((".npy", ".csv")):
        return LayerMatrix(array_file(text.strip(), "--layers"))
    return law_of_text(text)


def refuse_variances(arguments: argparse.Namespace) -> None:
    """Raise if variances stand beside a branch, whose operations have their own."""
    for name in ("weight_variance", "bias_variance"):
        if getattr(arguments, name) is not None:
            raise HyperparameterError(
                f"--{name.replace('_', '-')} beside --branch",
                "the operations of the branch have their own",
                "write Linear(weight variance, bias variance)",
            )


def _given(arguments: argparse.Namespace, name: str, symbolic: bool) -> Exact:
    text = getattr(arguments, name)
    if text is None and symbolic:
        return (_SYMBOLS[name],)
    option, symbols = f"--{name.replace('_', '-')}", (DEPTH,) if name == "rho" else ()
    values = numbers(DEFAULTS[name] if text is None else text, option, symbols)
    if len(values) > 1 and any(value.free_symbols for value in values):
        raise HyperparameterError(
            f"{option} {text}",
            "a grid of scales has the same numbers at every depth",
            "give one expression in L, or numbers; order-profile follows several scalings",
        )
    return values


def _check_variance(name: str, values: Exact) -> None:
    if name != "rho" and any(value.is_negative for value in values):
        raise HyperparameterError(
            f"--{name.replace('_', '-')} {min(values)}", "a variance is never negative", "give >= 0"
        )


def _depths(text: str | None, symbolic: bool) -> tuple[int, ...]:
    if text is None and symbolic:
        return ()
    return integers(DEFAULTS["depth"] if text is None else text, "--depth")


def _linear(text: str | None, option: str) -> Linear | None:
    return None if text is None else Linear(number(text, option), 0)


def inputs_of(
    arguments: argparse.Namespace,
) -> tuple[Linear | None, npt.NDArray[np.float64] | None]:
    """Return the read-in and the data that ``--inputs`` names, or two times None."""
    variance = arguments.read_in_variance
    if arguments.inputs is None:
        if variance is not None:
            raise HyperparameterError(
                f"--read-in-variance {variance}",
                "the kernel of the inputs is not computed from data",
                "give --inputs FILE with it",
            )
        return None, None
    if arguments.K0 is not None:
        raise HyperparameterError(
            f"--inputs {arguments.inputs} with --K0 {arguments.K0}",
            "the data have a kernel of their own",
            "give one of them",
        )
    return _linear(variance or "1", "--read-in-variance"), array_file(arguments.inputs, "--inputs")


def _kernel(
    text: str | None, axes: dict[str, npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64] | None:
    if text is not None and ";" in text:
        return matrix(text, "--K0")
    values = numbers("1" if text is None else text, "--K0")
    if len(values) == 1:
        return np.asarray(float(values[0]))
    axes["K0"] = np.array([float(value) for value in values])
    return None
