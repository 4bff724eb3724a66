"""The arguments of every command. Values stay text here: reading them needs SymPy.

A hyperparameter is an exact number (``0.1`` is 1/10; ``1/3``, ``sqrt(2)`` and ``pi/4`` work too), a
list ``a,b,c``, or a range ``first:last:count`` with both ends included. Lists and ranges of several
hyperparameters span a grid.
"""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from resexpand.cli.doctor_command import add_doctor
from resexpand.cli.formula_options import add_expand, add_latex, add_report, kind_of_response
from resexpand.cli.model_options import add_profile
from resexpand.cli.output import remark, write
from resexpand.cli.runs_options import OBSERVABLES, add_runs, carrying_out
from resexpand.cli.scales_options import add_scales
from resexpand.cli.tangent_options import add_predict, add_tangent_kernel

_NUMBERS = "number, list a,b,c or range first:last:count"
_EPILOG = (
    "Numbers are exact: 0.1 is 1/10, and 1/3, sqrt(2), pi/4 are understood. Write --option=VALUE "
    "when the value begins with a minus sign."
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and whose help is an answer."""

    def print_help(self, file: Any = None) -> None:
        """Write the help; argparse would not say that it could not."""
        write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on; exit with code 2."""
        remark(f"error: {message}; see '{self.prog} --help'")
        self.exit(2)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command names the module of `resexpand.cli` that runs it."""
    parser = Parser(
        prog="resexpand",
        description="Derive, compile, sample and judge the theory of residual networks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.required = True
    theories = (_kernel, _response, _optimal_scale, _one_loop, _order_profile)
    _validate(commands)
    add_expand(commands, _command)
    add_tangent_kernel(commands, _command, _target)
    add_predict(commands, _command)
    for add in (*theories, _sample):
        add(commands)
    add_scales(commands, _command)
    add_profile(commands, _command)
    add_runs(commands, _command)
    add_latex(commands, _command)
    add_report(commands, _command)
    add_doctor(commands, _command)
    _operations(commands)
    return parser


class _Version(argparse.Action):
    """Print the version; found only when asked for."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        from resexpand import __version__

        write(f"resexpand {__version__}\n")
        parser.exit(0)


def _command(
    commands: Any, name: str, module: str, description: str, *, network: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=description[0].lower() + description[1:].rstrip("."),
        description=description,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.set_defaults(module=module)
    if network:
        _network(parser)
    parser.add_argument("--json", action="store_true", help="print one strict JSON record instead")
    return parser


def _network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    branch = group.add_mutually_exclusive_group()
    branch.add_argument(
        "--branch",
        metavar="OPS",
        help="operations of the branch in data-flow order, such as "
        "'linear(1, 0.1), tanh, linear(1.2, 0)'; instead of activation and variances",
    )
    behind = "norm behind every block, 'RMSNorm(0.1)'"
    group.add_argument("--post-norm", metavar="OP", help=behind)
    group.add_argument(
        "--layers",
        metavar="LAW",
        help="covariance of weights between blocks: 'FractionalBrownian(0.8)', "
        "'Smooth(rbf, 0.01)', 'Markov(0.5)', or a .npy or .csv file with the matrix "
        "(default: independent)",
    )
    group.add_argument(
        "--positions",
        metavar="P",
        help="positions of every input, 16 or 4x4, for branches with 'Conv[-1 0 1](2, 0)'; K0 is "
        "then the matrix of all columns",
    )
    branch.add_argument(
        "--activation",
        metavar="NAME",
        default="erf_unit",
        help="identity erf erf_unit relu leaky_relu tanh gelu silu sin sign, or an expression in x "
        "such as 'x*tanh(x)' (default: erf_unit, the error function with slope 1)",
    )
    group.add_argument(
        *("--rho", "--scale"),
        dest="rho",
        metavar="RHO",
        help=f"residual scale: {_NUMBERS}, or an expression in the depth, '1/sqrt(L)'",
    )
    group.add_argument(
        "--depth", metavar="L", help="number of blocks; a list or range gives one answer per depth"
    )
    group.add_argument(
        "--weight-variance", metavar="V", help=f"sigma_w^2, weight variance times width: {_NUMBERS}"
    )
    group.add_argument("--bias-variance", metavar="V", help=f"sigma_b^2: {_NUMBERS}")
    group.add_argument(
        "--read-out-variance", metavar="V", help="weight variance of a linear read-out (no bias)"
    )
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument(
        "--K0",
        metavar="K",
        help="covariance kernel of the inputs: a number, a list or range, or a matrix 'a,b;c,d'",
    )
    inputs.add_argument(
        "--inputs",
        metavar="FILE",
        help=".npy or .csv with one input per row; gives the kernel. The command kernel also takes "
        "'batch' (with --K0 of a batch: BatchNorm) and 'masks' (two draws of dropout)",
    )
    parser.add_argument(
        "--read-in-variance",
        metavar="V",
        help="with --inputs: weight variance of the read-in (default 1)",
    )


def _kernel(commands: Any) -> None:
    parser = _command(
        commands,
        "kernel",
        "theory_commands",
        "Covariance kernel over the layers at infinite width.",
    )
    _target(parser)


def _response(commands: Any) -> None:
    parser = _command(
        commands,
        "response",
        "theory_commands",
        "Response function: how a change of the input kernel travels.",
    )
    kind_of_response(parser)
    _one_width(parser, "mean and standard deviation of the response to order 1/N")
    _target(parser)


def _optimal_scale(commands: Any) -> None:
    parser = _command(
        commands,
        "optimal-scale",
        "theory_commands",
        "Residual scale at which the response is largest, or why there is none.",
    )
    kind_of_response(parser)
    _one_width(parser, "how far this width moves the optimum to order 1/N")
    _target(parser)


def _one_width(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--width", metavar="N", help=f"neurons per layer: {what}")


def _one_loop(commands: Any) -> None:
    parser = _command(
        commands,
        "one-loop",
        "one_loop_command",
        "Order 1/N: how a finite width shifts the kernel and makes it fluctuate.",
    )
    parser.add_argument(
        "--width",
        metavar="N",
        help="neurons per layer, or a list: absolute values, and where they can be trusted; "
        "without it the coefficients of 1/N",
    )
    parser.add_argument(
        "--out",
        metavar="STEM",
        help="with --width: draw the kernel and its fluctuations to STEM.pdf and STEM.png",
    )


def _order_profile(commands: Any) -> None:
    parser = _command(
        commands,
        "order-profile",
        "profile_command",
        "Share of each order of the residual expansion at infinite width.",
    )
    parser.description = (
        f"{parser.description} Here --rho may depend on the depth: --rho '1/L,1/sqrt(L)' follows "
        "two scalings (default 1/sqrt(L))."
    )
    parser.add_argument("--order", metavar="K", default="3", help="highest order (default 3)")
    parser.add_argument(
        "--basis",
        choices=("taylor", "chaos", "paths"),
        default="taylor",
        help="powers of the scale, degrees in the weights, or path lengths (default: taylor)",
    )
    parser.add_argument(
        "--remainder", action="store_true", help="also what the orders leave out of the state"
    )
    parser.add_argument(
        "--out", metavar="STEM", help="draw the shares over --depth to STEM.pdf and STEM.png"
    )


def _operations(commands: Any) -> None:
    _command(
        commands,
        "operations",
        "operations_command",
        "Which theory and which sampler takes which operation, found by trying.",
        network=False,
    )


def _target(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--target",
        choices=("cpu", "cuda", "auto"),
        default="cpu",
        help="where the numbers are computed; auto takes a GPU if there is one and says what it "
        "took, 'resexpand doctor' says what works (default: cpu)",
    )


def _sampling(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("sampling")
    group.add_argument("--width", metavar="N", help="neurons per layer")
    group.add_argument("--draws", metavar="R", help="number of networks")
    group.add_argument("--seed", metavar="S", default="0", help="non-negative integer (default 0)")
    group.add_argument(
        "--workers", metavar="W", help="threads; the result does not depend on it (default: all)"
    )
    return group


def _sample(commands: Any) -> None:
    parser = _command(
        commands,
        "sample",
        "sample_command",
        "Sample networks of finite width, with standard errors.",
    )
    group = _sampling(parser)
    group.add_argument(
        "--method",
        choices=("auto", "function-space", "dense", "cholesky", "basis", "markov"),
        default="auto",
        help="exact in law either way; dense draws every weight, auto only where it must "
        "(default: auto)",
    )
    _target(group)
    group.add_argument(
        "--weights",
        metavar="LAW",
        default="gaussian",
        help="gaussian, uniform, rademacher, orthogonal, or the inverse distribution function of "
        "independent weights as an expression in u, 0 < u < 1 (default: gaussian)",
    )
    group.add_argument(
        "--observables",
        metavar="LIST",
        default="kernel",
        help=f"of {OBSERVABLES} (default: kernel)",
    )
    group.add_argument(
        "--control",
        choices=("infinite-width",),
        help="subtract what a twin of infinite width, driven by the same normals, says of kernel "
        "and layer_covariance: the same mean from far fewer networks",
    )
    group.add_argument(
        "--store", metavar="FILE", help="keep finished parts here and resume from them"
    )
    group.add_argument(
        "--shard",
        metavar="I/N",
        help="draw part I = 0 ... N-1 of N, each into a store of its own; 'runs merge' joins them",
    )
    carrying_out(group)


def _validate(commands: Any) -> None:
    parser = _command(
        commands,
        "validate",
        "validate_command",
        "Derive, compile, sample and compare; writes figure, LaTeX and JSON.",
    )
    parser.description = (
        f"{parser.description} Without options: the response function of the unit-slope error "
        "function. Here --rho, --depth and --width list what is sampled."
    )
    group = _sampling(parser)
    group.add_argument("--dense-width", metavar="N", help="width where every weight is drawn")
    group.add_argument("--dense-draws", metavar="R", help="number of such networks per scale")
    group.add_argument(
        "--resolve",
        metavar="D",
        help="deviation relative to the largest response that must be detectable (default 0.05)",
    )
    group.add_argument(
        "--store", metavar="FOLDER", help="keep finished samples here and resume from them"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="resexpand-validation",
        help="folder to write (default: resexpand-validation)",
    )
