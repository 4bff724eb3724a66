"""``tangent-kernel`` and ``predict``: infinitely wide networks that are trained.

The tangent kernel is shown pair by pair with the shares of the layers of the first input, a
prediction input by input. Over a grid of hyperparameters ``predict --kind nngp`` shows the log
marginal likelihood, so that scale, variances and depth can be chosen by evidence.
"""

from __future__ import annotations

import argparse
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

from resexpand.cli.description import Request, request
from resexpand.cli.layout import grid_table, layer_table
from resexpand.cli.show import say, table, theory_record, warn
from resexpand.cli.theory_commands import Answer, answer_of, formulas, head
from resexpand.cli.values import integer, numbers, real, split
from resexpand.errors import HyperparameterError
from resexpand.network.files import array_file
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.predict import predict
from resexpand.numbers.prediction import Prediction
from resexpand.theory.tangent_kernel import tangent_kernel

AT_THE_END = ("NTK", "NNGP")
SHARES = ("NTK_layers", "NTK_weights", "NTK_biases")
PREDICTED = ("mean", "covariance", "log_marginal_likelihood")
SHOWN_CLASSES = 10
"""Outputs of a prediction that have a column of their own."""


def run(arguments: argparse.Namespace) -> int:
    """Run one of the two commands."""
    (_predict if arguments.command == "predict" else _tangent_kernel)(arguments, request(arguments))
    return 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what is trained and how, as `tangent_kernel` takes it."""
    trained = [part.strip().replace("-", "_") for part in split(arguments.trained, ",")]
    return {"trained": trained, "parametrisation": arguments.parametrisation}


def _width(arguments: argparse.Namespace) -> dict[str, int]:
    if (arguments.width is not None) != (arguments.parametrisation == "standard"):
        raise HyperparameterError(
            f"the {arguments.parametrisation} parametrisation "
            f"{'without' if arguments.width is None else 'with'} --width",
            "the width is the fan-in that the standard parametrisation counts",
            "give --width with --parametrisation standard, and only there",
        )
    return {} if arguments.width is None else {"width": integer(arguments.width, "--width")}


def _tangent_kernel(arguments: argparse.Namespace, wanted: Request) -> None:
    theory = tangent_kernel(wanted.net(), 2 if wanted.pairs else 1, **_options(arguments))
    names = [*AT_THE_END, *([] if wanted.axes or wanted.pairs else SHARES)]
    given = wanted.keywords() | _width(arguments)
    how = {"target": arguments.target, "outputs": names, **given}
    answers = [answer_of(d, evaluate(theory, depth=d, **how), names) for d in wanted.depths]
    equations = formulas(theory)
    if arguments.json:
        chosen = {"trained": theory.trained, "parametrisation": theory.parametrisation}
        settings = {**wanted.settings(), **chosen}
        theory_record("tangent-kernel", theory, settings, equations, answers)
        return
    head(theory.title, equations, theory.neglects)
    for answer in answers:
        say(f"\ndepth {answer['depth']}")
        _show_kernel(answer, wanted)


def _show_kernel(answer: Answer, wanted: Request) -> None:
    """Print one row per point of the grid, per pair of inputs, or per layer."""
    ends = [(name, answer[name]) for name in AT_THE_END]
    if wanted.axes:
        if wanted.pairs:
            ends = [(f"{name}_12", value[..., 0, 1]) for name, value in ends]
        table(*grid_table(wanted.axes, ends))
    elif wanted.pairs:
        places = list(combinations_with_replacement(range(answer["NTK"].shape[-1]), 2))

        def row(index: int) -> list[object]:
            a, b = places[index]
            return [a + 1, b + 1, *(float(value[a, b]) for _, value in ends)]

        table(["a", "b", *AT_THE_END], len(places), row)
    else:
        table(*layer_table([(name, answer[name]) for name in SHARES]))
        for name, value in ends:
            say(f"{name} = {float(value):.6g}")


def _predict(arguments: argparse.Namespace, wanted: Request) -> None:
    if wanted.inputs is None:
        raise HyperparameterError(
            "a prediction without training inputs", "--inputs names them", "give --inputs FILE"
        )
    targets = array_file(arguments.targets, "--targets")
    if targets.shape[0] == 1 and len(wanted.inputs) > 1:
        targets = targets.T
    test = None if arguments.test is None else array_file(arguments.test, "--test")
    settings = {
        "kind": arguments.kind,
        "ridge": real(arguments.ridge, "--ridge"),
        **_options(arguments),
        **_width(arguments),
    }
    if arguments.time is not None:
        times = [t for part in split(arguments.time, ",") for t in _times(part.strip())]
        settings["time"] = times[0] if len(times) == 1 else times
    if wanted.axes or len(wanted.depths) > 1:
        _show_evidence(arguments, wanted, targets, settings)
        return
    (depth,) = wanted.depths
    prediction = predict(wanted.net(depth), wanted.inputs, targets, test, **settings)
    for problem in prediction.problems:
        warn(problem)
    if arguments.json:
        values = {name: getattr(prediction, name) for name in PREDICTED}
        answer = {"depth": depth, **values, "status": prediction.status, "notes": prediction.notes}
        described = wanted.settings() | settings
        theory_record("predict", prediction, described, {}, [answer], "O(1/N)")
        return
    _show_prediction(prediction)


def _times(text: str) -> list[float]:
    """Return the times that a part of a list stands for; ``inf`` is the end of training."""
    if text in ("inf", "oo", "infinity"):
        return [np.inf]
    return [float(value) for value in numbers(text, "--time")]


def _show_prediction(prediction: Prediction) -> None:
    """Print one row per test input, at each time."""
    say(str(prediction.card()))
    times = np.atleast_1d(prediction.time)
    means = prediction.mean.reshape(len(times), -1, *(prediction.mean.shape[-1:]))
    spreads = np.asarray(prediction.deviation).reshape(len(times), -1)
    for time, mean, spread in zip(times, means, spreads, strict=True):
        shown = mean[:, :SHOWN_CLASSES]
        say(f"\ntime {time:g}")

        def row(index: int, shown: Any = shown, spread: Any = spread) -> list[object]:
            return [index + 1, *map(float, shown[index]), float(spread[index])]

        heads = ["input", *(f"mean_{k + 1}" for k in range(shown.shape[1])), "deviation"]
        table(heads, len(shown), row)


def _show_evidence(
    arguments: argparse.Namespace, wanted: Request, targets: Any, settings: dict[str, Any]
) -> None:
    """Print the log marginal likelihood over a grid of hyperparameters and depths."""
    if arguments.kind != "nngp":
        raise HyperparameterError(
            "predictions at several values of hyperparameters",
            "they are compared by the log marginal likelihood, which --kind nngp has",
            "give one value each, or --kind nngp",
        )
    axes = {"depth": np.array(wanted.depths, dtype=float), **wanted.axes}
    names = list(axes)[1:]
    evidence = []
    for depth, *point in product(wanted.depths, *wanted.axes.values()):
        at: dict[str, Any] = dict(zip(names, map(float, point), strict=True))
        net = wanted.net(depth)
        prediction = predict(net, wanted.inputs, targets, covariance=False, **settings, **at)
        for sentence in (*prediction.problems, *prediction.notes):
            warn(f"depth {depth}: {sentence}")
        own = prediction.log_marginal_likelihood
        evidence.append(np.nan if own is None else own)
    values = np.array(evidence)
    if arguments.json:
        answer = {"axes": axes, "log_marginal_likelihood": values}
        described = wanted.settings() | settings
        theory_record("predict", prediction, described, {}, [answer], "O(1/N)")
        return
    table(*grid_table(axes, [("log marginal likelihood", values)]))
