"""``one-loop``: the order 1/N: shift of the mean, fluctuations within and across layers.

Without a width the coefficients of 1/N are shown. With one, the mean at that width, the standard
deviation from network to network, and where the expansion can no longer be trusted: layers whose
next order is larger than `LIMIT` of this one carry a mark.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resexpand.cli.description import Request, caption, request
from resexpand.cli.layout import Array, Column, Table, grid_table, layer_table, pairs
from resexpand.cli.show import draw, say, table, theory_record, warn
from resexpand.cli.theory_commands import answer_of, formulas, head
from resexpand.cli.values import integer, split
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.one_loop.validity import LIMIT, variances
from resexpand.theory.one_loop import OneLoop, one_loop

Answer = dict[str, Any]

MARK = "beyond validity"
MEAN_FIELD = ("covariance", "kernel")
"""Formulas of the theory that the kernel recursion states as well, in closed form."""

_DEVIATIONS = (("K", "G_cov"), ("C", "C_cov"))


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    wanted = request(arguments)
    widths = _widths(arguments)
    theory = one_loop(wanted.net(), inputs=_inputs(wanted))
    if arguments.out is not None:
        _check_figure(wanted, widths)
    given = wanted.keywords()
    answers = [answer_of(d, evaluate(theory, depth=d, **given)) for d in wanted.depths]
    if arguments.out is not None:
        _draw(arguments, answers[0], widths)
    if arguments.json:
        _record(wanted, theory, widths, answers)
        return 0
    head("order 1/N", _equations(theory), theory.neglects)
    for answer in answers:
        if wanted.axes:
            _show_grid(answer, wanted, widths)
        elif widths:
            for width in widths:
                _show_width(answer, width)
        else:
            _show_coefficients(answer)
    return 0


def _equations(theory: OneLoop) -> dict[str, str]:
    """Return the equations as text: infinite width, the order 1/N, and the numbers given."""
    base = formulas(theory.kernel)
    given = {
        name: base.pop(name) for name in (str(s) for s, _ in theory.kernel.bindings) if name in base
    }
    known = theory.formulas if theory.process.is_plain else ()
    order = {str(f.lhs): str(f.rhs) for f in known if f.name not in MEAN_FIELD}
    return base | order | given


def _widths(arguments: argparse.Namespace) -> tuple[int, ...]:
    if arguments.width is None:
        return ()
    return tuple(integer(part, "--width") for part in split(arguments.width, ","))


def _inputs(wanted: Request) -> int:
    if not wanted.pairs:
        return 1
    return len(wanted.inputs) if wanted.inputs is not None else len(np.asarray(wanted.kernel))


def _check_figure(wanted: Request, widths: Sequence[int]) -> None:
    if not widths or wanted.axes or wanted.pairs or len(wanted.depths) > 1:
        raise HyperparameterError(
            "--out of the order 1/N",
            "the figure is of one network and one input, at given widths",
            "give --width, and one value for every other option",
        )


def at_width(answer: Mapping[str, Any], width: int, lead: int = 0) -> dict[str, Array]:
    """Return mean, correction and standard deviation at a width, and the size of the next order."""
    values: dict[str, Array] = {"relative_error": np.asarray(answer["validity"]) / width}
    for name, spread in _known(answer):
        shift = np.asarray(answer[f"{name}_mean"]) / width
        values[name] = np.asarray(answer[name]) + shift
        values[f"{name}_shift"] = shift
        values[f"{name}_deviation"] = np.sqrt(variances(np.asarray(answer[spread]), lead) / width)
    return values


def _known(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what fluctuates: of a stream that is normalised behind every block C alone."""
    return [(name, spread) for name, spread in _DEVIATIONS if spread in answer]


def _show_coefficients(answer: Answer) -> None:
    say(f"\ndepth {answer['depth']}, coefficients of 1/N")
    table(*layer_table(list(_columns(answer))))
    _show_kurtosis(np.asarray(answer["kurtosis"]), " / N")


def _show_width(answer: Answer, width: int) -> None:
    beyond = np.asarray(answer["validity"]) / width > LIMIT
    say(f"\ndepth {answer['depth']}, width {width}")
    table(*_marked(layer_table(list(_columns(answer, width))), beyond))
    _show_kurtosis(np.asarray(answer["kurtosis"]) / width, "")
    if beyond.any():
        warn(_beyond(answer, width, int(np.argmax(beyond))))


def _show_kurtosis(values: Array, unit: str) -> None:
    several = values.ndim > 0
    for number, value in enumerate(np.atleast_1d(values), start=1):
        of_input = f", input {number}," if several else ""
        say(f"excess kurtosis of an output{of_input} = {float(value):.6g}{unit}")


def _columns(
    answer: Answer, width: int | None = None, lead: int | None = None, tail: str = ""
) -> Iterator[Column]:
    """Yield the coefficients of 1/N, or what they make at a width, and the size of the next order.

    Over the layers everything that fluctuates; over `lead` axes of a grid the first of it at the
    last layer, without its shift.
    """
    # C^l belongs to block l, which acts on layer l - 1: it stands in the row of that layer.
    ends = {"K": "", "C": "(l+1)"} if lead is None else {"K": "(L)", "C": "(L+1)"}
    own = answer if width is None else at_width(answer, width, lead or 0)
    for name, spread in _known(answer)[: None if lead is None else 1]:
        if width is None:
            fluctuation = variances(np.asarray(answer[spread]), lead or 0)
            shown = {f"{name}_mean": own[f"{name}_mean"], f"{spread[0]}_var": fluctuation}
        else:
            shown = {} if lead is not None else {f"shift {name}": own[f"{name}_shift"]}
            shown[f"+- {name}"] = own[f"{name}_deviation"]
        for heading, values in {name: own[name], **shown}.items():
            yield from pairs(f"{heading}{ends[name]}{tail}", *_at(values, lead))
    size = ("v", own["validity"]) if width is None else ("v/N", own["relative_error"])
    yield f"{size[0]}{tail}", _at(size[1], lead)[0]


def _at(values: Array, lead: int | None) -> tuple[Array, int]:
    """Return values over the layers, or those of the last one, and their axes beside the inputs."""
    if lead is None:
        return np.asarray(values), 1
    return np.asarray(np.take(values, -1, axis=lead)), lead


def _marked(shown: Table, beyond: npt.NDArray[np.bool_]) -> Table:
    """Return a table with a mark behind the rows that are beyond validity, if there are any."""
    headers, count, row = shown
    if not beyond.any():
        return shown
    flat = beyond.reshape(-1)
    return [*headers, ""], count, lambda index: [*row(index), MARK if flat[index] else ""]


def _beyond(answer: Mapping[str, Any], width: int, layer: int) -> str:
    needed = int(np.ceil(np.max(answer["validity"]) / LIMIT))
    return (
        f"depth {answer['depth']}, width {width}: the expansion in 1/N does not hold from layer "
        f"{layer} on; it needs a width of at least {needed}"
    )


def _show_grid(answer: Answer, wanted: Request, widths: Sequence[int]) -> None:
    """Print the values at the last layer, one row per point of the grid."""
    lead = len(wanted.grid)
    say(f"\ndepth {answer['depth']}, last layer")
    columns: list[Column] = [] if widths else list(_columns(answer, None, lead))
    beyond = np.zeros(wanted.grid, dtype=bool)
    for width in widths:
        columns += _columns(answer, width, lead, f", N={width}" if len(widths) > 1 else "")
        beyond |= columns[-1][1] > LIMIT
    table(*_marked(grid_table(wanted.axes, columns), beyond))
    if beyond.any():
        warn(f"depth {answer['depth']}: the expansion in 1/N does not hold where v/N > {LIMIT}")


def _record(
    wanted: Request, theory: OneLoop, widths: Sequence[int], answers: Sequence[Answer]
) -> None:
    lead = len(wanted.grid)
    results = []
    for answer in answers:
        absolute = {
            str(width): {
                **(values := at_width(answer, width, lead)),
                "valid": values["relative_error"] <= LIMIT,
            }
            for width in widths
        }
        results.append({**answer, **({"at_width": absolute} if widths else {})})
    settings = {**wanted.settings(), "widths": list(widths)}
    theory_record("one-loop", theory, settings, _equations(theory), results)


def _draw(arguments: argparse.Namespace, answer: Answer, widths: Sequence[int]) -> None:
    from resexpand.export.figures.one_loop import Fluctuation, fluctuation_figure

    layers = np.arange(answer["depth"] + 1, dtype=float)
    profiles = []
    if not any(name == "K" for name, _ in _known(answer)):
        raise UnsupportedError(
            "the figure of the order 1/N with a post-norm",
            "it shows fluctuations of the kernel, which the normalisation takes out",
            "leave --out away; the table has the covariance C of every block",
        )
    for width in widths:
        values = at_width(answer, width)
        holds = (values["relative_error"] <= LIMIT).astype(float)
        profiles.append(
            Fluctuation(layers, answer["K"], values["K"], values["K_deviation"], holds, width)
        )
    title = f"{caption(arguments)}, depth {answer['depth']}"
    draw(fluctuation_figure(profiles, subtitle=title), arguments.out)
