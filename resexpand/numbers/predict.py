"""`predict`: infinitely wide residual networks, trained on data.

The kernels come from `tangent_kernel`, what training makes of them from `numbers.gradient_flow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.codegen.values import QUADRATURE_LIMIT, Values
from resexpand.errors import HyperparameterError
from resexpand.expressions.shown import Card, Tabled, numbers
from resexpand.network.files import array_file
from resexpand.network.inputs import rows_of, validated_kernel
from resexpand.network.numbers import real_array
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.gradient_flow import EPS, Trained, ensemble_covariance, posterior
from resexpand.progress import Progress
from resexpand.references import REFERENCES, Citation
from resexpand.theory.tangent_kernel import TRAINABLE, tangent_kernel

Array = NDArray[np.float64]
Kind = Literal["ntk", "nngp"]
NAMES = {"ntk": "tangent kernel", "nngp": "covariance kernel"}


@dataclass(frozen=True, repr=False)
class Prediction(Tabled):
    """What an ensemble of infinitely wide networks says of test inputs.

    Attributes
    ----------
    mean : ndarray, shape (T,) or (T, outputs)
        Mean over the ensemble, in the shape of the targets; the axis of several times comes first.
    covariance : ndarray, shape (T, T), or None
        Covariance of one output over the ensemble, the same for all outputs, which are
        independent; the axis of several times comes first.
    log_marginal_likelihood : float or None
        Of the targets, all outputs together, under the prior with noise of variance `ridge`.
    kind : str
        ``"ntk"`` or ``"nngp"``.
    time : ndarray
        Times of training.
    ridge : float
        What was added to the diagonal of the kernel of the training inputs.
    condition : float or None
        Condition number of the matrix that was inverted; None at finite times.
    problems, notes : tuple of str
        Sentences that must be read before the numbers are used; what else happened.
    citations : tuple of Citation
        Where the equations stand.
    """

    mean: Array
    covariance: Array | None
    log_marginal_likelihood: float | None
    kind: str
    time: Array
    ridge: float
    condition: float | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = field(default=())

    @property
    def deviation(self) -> Array | None:
        """Standard deviation of an output at every test input."""
        if self.covariance is None:
            return None
        variances = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return np.asarray(np.sqrt(np.maximum(variances, 0.0)))

    @property
    def status(self) -> str:
        """``ok``, or the problems as one text."""
        return "; ".join(self.problems) or "ok"

    def card(self) -> Card:
        """Return what it says about itself."""
        state = "see below" if self.problems else "ok"
        evidence = self.log_marginal_likelihood
        return Card(
            f"Prediction: {NAMES[self.kind]}, {state}",
            (
                ("mean", numbers(self.mean)),
                ("deviation", "" if self.covariance is None else numbers(self.deviation)),
                ("log marginal likelihood", "" if evidence is None else f"{evidence:.8g}"),
                ("time", numbers(self.time)),
                ("ridge", f"{self.ridge:g}"),
                ("condition", "" if self.condition is None else f"{self.condition:.2g}"),
            ),
            (*(f"* {text}" for text in self.notes), *(f"! {text}" for text in self.problems)),
        )


def predict(
    net: ResNet,
    train: Any,
    targets: Any,
    test: Any = None,
    *,
    time: ArrayLike | None = None,
    kind: str = "ntk",
    ridge: float = 0.0,
    trained: str | Iterable[str] = TRAINABLE,
    parametrisation: str = "ntk",
    covariance: bool = True,
    progress: Progress = None,
    **hyperparameters: Any,
) -> Prediction:
    r"""Predict with infinitely wide networks that are trained on data.

    Parameters
    ----------
    net : ResNet
        The network, with a `read_in` unless the kernel at layer 0 is given.
    train : array_like, shape (n, d_in), path-like or None
        Training inputs, or the name of a file that holds them; None with ``K0=``.
    targets : array_like, shape (n,) or (n, outputs), or path-like
        What they are trained to; of classes, `class_codes` makes targets.
    test : array_like, shape (T, d_in), path-like, optional
        Test inputs; the training inputs by default.
    time : float or array_like, optional
        Times of gradient flow on half the sum of squared errors over all training inputs and
        outputs, with learning rate one; infinite by default.
    kind : {"ntk", "nngp"}
        Whether all parameters in `trained` are trained from independent initial values, or the
        read-out alone. At infinite time the second is the Bayesian posterior.
    ridge : float, optional
        For ``"ntk"`` the strength of ``ridge/2 |theta - theta_0|^2`` in the loss, for ``"nngp"``
        the variance of noise on the targets.
    trained, parametrisation
        See `tangent_kernel`; they matter to ``"ntk"``.
    covariance : bool, optional
        Whether the covariance over the ensemble is computed, a T x T matrix.
    progress : callable, bool or None, optional
        See `evaluate`.
    **hyperparameters
        Values of the symbols of the network, one number each; or ``K0``, the kernel at layer 0 of
        the training inputs and behind them the test inputs, in place of both.

    Returns
    -------
    Prediction
        Mean, covariance, for ``"nngp"`` the log marginal likelihood, exact at infinite width.

    Raises
    ------
    HyperparameterError
        If shapes do not fit each other, or a time or the ridge is negative.
    KernelError
        If the kernel of the training inputs is singular and has to be inverted; the message names
        a ridge that helps. Nothing is added to it by itself.
    UnsupportedError
        As `tangent_kernel`.

    References
    ----------
    Lee et al. (2019), sections 2.2 and 2.3.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, predict
    >>> ends = {"read_in": Linear(1, 0.1), "read_out": Linear(1, 0)}
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=0.5, depth=4, **ends)
    >>> found = predict(net, [[-1.0], [0.0], [1.0]], [1.0, 0.0, 1.0], [[0.0], [2.0]])
    >>> found.mean.round(3)
    array([0.   , 2.092])
    """
    if kind not in get_args(Kind):
        raise HyperparameterError(
            f"the prediction of kind {kind!r}", "it is unknown", f"use one of {get_args(Kind)}"
        )
    times, ridge = _times(time), _ridge(ridge)
    y = _targets(targets)
    given = _Inputs(train, test, hyperparameters.pop("K0", None), len(y))
    outputs = ["NTK", "NNGP"] if kind == "ntk" else ["NNGP"]
    theory = tangent_kernel(net, 2, trained, parametrisation)
    shared = {"outputs": outputs, "progress": progress, **hyperparameters}
    blocks = given.blocks(theory, shared, whole=covariance)
    for name in outputs:
        if blocks.cross[name].ndim != 2:
            raise HyperparameterError(
                "a prediction on a grid of hyperparameters",
                "the training kernel is one matrix",
                "give one number each, and call predict() for every point",
            )
    main = "NTK" if kind == "ntk" else "NNGP"
    solver = Trained(blocks.own[main], ridge, NAMES[kind])
    columns = y.reshape(len(y), -1)
    means = [blocks.cross[main] @ solver.applied(columns, t) for t in times]
    spreads = [_spread(kind, solver, blocks, t) for t in times] if covariance else []
    inverted = kind == "nngp" or bool(np.isinf(times).any())
    problems = [*blocks.problems]
    condition = None
    evidence = solver.log_density(columns) if kind == "nngp" else None
    if inverted:
        condition = solver.condition
        error = condition * (EPS + blocks.error)
        if error > QUADRATURE_LIMIT:
            problems.append(
                f"the inverse of the {NAMES[kind]} may be wrong by {error:.1g}, as its condition "
                f"number is {condition:.1g}; a larger ridge lowers it"
            )
    mean = np.stack(means).reshape(len(times), -1, *y.shape[1:])
    one = np.ndim(time if time is not None else np.inf) == 0
    return Prediction(
        mean[0] if one else mean,
        None if not covariance else (spreads[0] if one else np.stack(spreads)),
        evidence,
        kind,
        times[0] if one else times,
        ridge,
        condition,
        tuple(problems),
        blocks.notes,
        (Citation(REFERENCES["lee2019"]), *theory.citations),
    )


def class_codes(labels: ArrayLike, classes: ArrayLike | None = None) -> Array:
    """Return targets for classification: 1 in the column of the class, -1 in all others.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Classes of the training inputs, of any type that can be sorted.
    classes : array_like, shape (C,), optional
        The classes in the order of the columns; by default those that occur, sorted.

    Returns
    -------
    ndarray, shape (n, C)
        The class of a prediction is the column of the largest mean,
        ``classes[prediction.mean.argmax(-1)]``.

    Raises
    ------
    HyperparameterError
        If a label is not among the classes, or there is only one class.

    Examples
    --------
    >>> from resexpand import class_codes
    >>> class_codes(["cat", "dog", "cat"])
    array([[ 1., -1.],
           [-1.,  1.],
           [ 1., -1.]])
    """
    given = np.asarray(labels)
    known = np.unique(given) if classes is None else np.asarray(classes)
    if given.ndim != 1 or known.ndim != 1 or len(known) < 2:
        raise HyperparameterError(
            f"codes of labels of shape {given.shape} in {known.size} classes",
            "one label per input and two classes or more are needed",
            "give labels of shape (n,)",
        )
    same = given[:, None] == known
    missing = given[~same.any(axis=1)]
    if missing.size:
        raise HyperparameterError(
            f"the label {missing[0]!r}", "it is not among the classes", f"use one of {[*known]}"
        )
    return np.where(same, 1.0, -1.0)


@dataclass(frozen=True)
class _Blocks:
    """Kernels by name: over training inputs, to the test inputs, and over these."""

    own: dict[str, Array]
    cross: dict[str, Array]
    prior: dict[str, Array]
    error: float
    problems: tuple[str, ...]
    notes: tuple[str, ...]


class _Inputs:
    """Training and test inputs, as data or as their kernel at layer 0."""

    def __init__(self, train: Any, test: Any, kernel: Any, count: int) -> None:
        self.count, self.kernel = count, None
        if kernel is not None:
            if train is not None or test is not None:
                raise HyperparameterError(
                    "a prediction from inputs and K0",
                    "both give the kernel at layer 0",
                    "pass train=None and test=None with K0, or leave K0 out",
                )
            self.kernel, _ = validated_kernel(kernel, matrix=True)
            self._require(self.kernel.shape[-1] >= count, f"K0 of shape {self.kernel.shape}")
            return
        if train is None:
            raise HyperparameterError(
                "a prediction without training inputs",
                "there is nothing to train on",
                "pass train=, or K0= with the kernel at layer 0",
            )
        self.train = rows_of(train, "train")
        self._require(len(self.train) == count, f"train of shape {self.train.shape}")
        self.test = None if test is None else rows_of(test, "test")
        if self.test is not None and self.test.shape[1] != self.train.shape[1]:
            raise HyperparameterError(
                f"test of shape {self.test.shape}",
                f"the training inputs have {self.train.shape[1]} numbers each",
                f"give T x {self.train.shape[1]}",
            )

    def _require(self, fits: bool, asked: str) -> None:
        if not fits:
            raise HyperparameterError(
                f"{asked} with {self.count} targets",
                "every training input has one target, a number or a row",
                f"give {self.count} training inputs, or targets for all",
            )

    def blocks(self, theory: Any, shared: dict[str, Any], *, whole: bool) -> _Blocks:
        """Evaluate the kernels; those of pairs of test inputs only if they are needed."""
        n = self.count
        if self.kernel is not None or whole or self.test is None:
            given = {"K0": self.kernel} if self.kernel is not None else {"inputs": self._all()}
            found = [evaluate(theory, **given, **shared)]
            own = {k: v[..., :n, :n] for k, v in found[0].items()}
            rest = slice(n, None) if found[0]["NNGP"].shape[-1] > n else slice(None)
            cross = {k: v[..., rest, :n] for k, v in found[0].items()}
            prior = {k: v[..., rest, rest] for k, v in found[0].items()}
        else:
            found = [
                evaluate(theory, inputs=self.train, **shared),
                evaluate(theory, inputs=self.test, others=self.train, **shared),
            ]
            own, cross, prior = dict(found[0]), dict(found[1]), {}
        return _Blocks(own, cross, prior, _error(found), *_said(found))

    def _all(self) -> Array:
        return self.train if self.test is None else np.concatenate([self.train, self.test])


def _error(found: list[Values]) -> float:
    return max((e for values in found for e in values.quadrature_error.values()), default=0.0)


def _said(found: list[Values]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    said = (tuple(p for v in found for p in getattr(v, n)) for n in ("problems", "notes"))
    problems, notes = said
    return problems, notes


def _spread(kind: str, solver: Trained, blocks: _Blocks, time: float) -> Array:
    own, cross, prior = (part["NNGP"] for part in (blocks.own, blocks.cross, blocks.prior))
    if kind == "nngp":
        return posterior(solver, cross, prior, time)
    return ensemble_covariance(solver, blocks.cross["NTK"], (own, cross, prior), time)


def _targets(targets: Any) -> Array:
    """Return targets as an array, one per training input in the first axis."""
    if isinstance(targets, str) or hasattr(targets, "__fspath__"):
        found = array_file(targets, "targets")
        return found[:, 0] if found.shape[1] == 1 else found
    found = real_array(targets, "targets")
    if found.ndim not in (1, 2) or 0 in found.shape:
        raise HyperparameterError(
            f"targets of shape {found.shape}",
            "every training input has one target, a number or a row",
            "give (n,) or (n, outputs); class_codes() makes them of classes",
        )
    return found


def _times(time: ArrayLike | None) -> Array:
    """Return the times in one axis."""
    if time is None:
        return np.array([np.inf])
    found = real_array(time, "time", finite=False)
    if found.ndim > 1 or np.isnan(found).any() or (found < 0).any() or not found.size:
        raise HyperparameterError(
            f"time = {time}", "a time is a number >= 0, or infinity", "give one, or a list of them"
        )
    return found.reshape(-1)


def _ridge(ridge: float) -> float:
    found = real_array(ridge, "ridge")
    if found.ndim or found < 0:
        raise HyperparameterError(f"ridge = {ridge}", "it is not a number >= 0", "give one")
    return float(found)
