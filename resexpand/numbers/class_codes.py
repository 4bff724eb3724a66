"""Targets of a classification."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError


def class_codes(labels: ArrayLike, classes: ArrayLike | None = None) -> NDArray[np.float64]:
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
