"""`predict`: infinitely wide residual networks, trained on data.

The kernels come from `tangent_kernel`, what training makes of them from `numbers.gradient_flow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.codegen.values import QUADRATURE_LIMIT
from resexpand.errors import KernelError
from resexpand.network.requirements import require_one_of
from resexpand.network.resnet import ResNet
from resexpand.numbers.gradient_flow import EPS, Trained, ensemble_covariance, posterior
from resexpand.numbers.prediction import NAMES, Prediction
from resexpand.numbers.prediction_inputs import Blocks, Inputs, ridge_of, targets_of, times_of
from resexpand.progress import Progress
from resexpand.references import REFERENCES, Citation
from resexpand.theory.tangent_kernel import TRAINABLE, tangent_kernel

Array = NDArray[np.float64]
Kind = Literal["ntk", "nngp"]


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
    >>> found = predict(net, [[-1.0], [0.0], [1.0]], [1.0, 0.5, 1.0], [[0.5], [2.0]])
    >>> found.mean.round(3)
    array([0.673, 1.642])
    """
    require_one_of(kind, Kind, "the prediction of kind")
    times, y = times_of(time), targets_of(targets)
    theory = tangent_kernel(net, 2, trained, parametrisation)
    given = Inputs(train, test, hyperparameters.pop("K0", None), len(y))
    outputs = ["NTK", "NNGP"] if kind == "ntk" else ["NNGP"]
    settings = {"outputs": outputs, "progress": progress, **hyperparameters}
    blocks = given.blocks(theory, settings, whole=covariance)
    solver = Trained(blocks.own[outputs[0]], ridge_of(ridge), NAMES[kind])
    columns = y.reshape(len(y), -1)
    means = [blocks.cross[outputs[0]] @ solver.applied(columns, t) for t in times]
    mean = np.stack(means).reshape(len(times), -1, *y.shape[1:])
    spreads = np.stack([_spread(kind, solver, blocks, t) for t in times]) if covariance else None
    at = 0 if time is None or np.ndim(time) == 0 else slice(None)
    evidence, said = _evidence(solver, columns) if kind == "nngp" else (None, ())
    is_inverted = evidence is not None or bool(np.isinf(times).any())
    condition = solver.condition if is_inverted else None
    return Prediction(
        mean[at],
        None if spreads is None else spreads[at],
        evidence,
        kind,
        times[at],
        solver.ridge,
        condition,
        (*blocks.problems, *_problems(condition, blocks.error, NAMES[kind])),
        (*blocks.notes, *said),
        (Citation(REFERENCES["lee2019"]), *theory.citations),
    )


def _evidence(solver: Trained, columns: Array) -> tuple[float | None, tuple[str, ...]]:
    """Return the log marginal likelihood, or why there is none."""
    try:
        return solver.log_density(columns), ()
    except KernelError as singular:
        return None, (f"no log marginal likelihood: {singular}",)


def _problems(condition: float | None, error: float, name: str) -> tuple[str, ...]:
    """Return a sentence if the error of a kernel may have grown too large in its inverse."""
    grown = 0.0 if condition is None else condition * (EPS + error)
    if grown <= QUADRATURE_LIMIT:
        return ()
    return (
        f"the inverse of the {name} may be wrong by {grown:.1g} relative, as its condition number "
        f"is {condition:.1g}; a larger ridge lowers it",
    )


def _spread(kind: str, solver: Trained, blocks: Blocks, time: float) -> Array:
    own, cross, prior = (part["NNGP"] for part in (blocks.own, blocks.cross, blocks.prior))
    if kind == "nngp":
        return posterior(solver, cross, prior, time)
    return ensemble_covariance(solver, blocks.cross["NTK"], (own, cross, prior), time)
