"""Predictions of an ensemble of trained networks at test inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from resexpand.expressions.shown import Card, Tabled, numbers
from resexpand.references import Citation

Array = NDArray[np.float64]
NAMES = {"ntk": "tangent kernel", "nngp": "covariance kernel"}
"""Kernels that decide on what training does, by kind of prediction."""


@dataclass(frozen=True, repr=False)
class Prediction(Tabled):
    """Prediction of an ensemble of infinitely wide networks at test inputs.

    Attributes
    ----------
    mean : ndarray, shape (T,) or (T, outputs)
        Mean over the ensemble, in the shape of the targets; the axis of several times comes first.
    covariance : ndarray, shape (T, T), or None
        Covariance of one output over the ensemble, the same for all outputs, which are
        independent; the axis of several times comes first.
    log_marginal_likelihood : float or None
        Of the targets, all outputs together, under the prior with noise of variance `ridge`; None
        for ``"ntk"``, and where the kernel is singular.
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
