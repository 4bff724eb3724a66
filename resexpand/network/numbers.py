"""Numbers from users: one rule for every call.

Accepted are Python's and NumPy's real numbers, ``Fraction``, ``Decimal``, SymPy's real constants,
and arrays or nested lists of these, with tensors of any library that NumPy can read (a trainable
one is detached). Refused are text, truth values, complex numbers, masked arrays, NaN, infinities,
and containers without an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.conventions import DEPTH, RHO, SIGMA_B2, SIGMA_W2, exact, unwrapped
from resexpand.errors import DescriptionError, HyperparameterError
from resexpand.expressions import parse_expression

Array = NDArray[np.float64]

NO_NUMBER = "it is not a number and not an array of numbers"
_KINDS = {"b": "truth values", "c": "complex numbers", "U": "text", "S": "text", "T": "text"}


def real_array(value: Any, name: str, *, finite: bool = True) -> Array:
    """Return numbers as an array of doubles, without a copy where they are one.

    Parameters
    ----------
    value : number or array_like
        Value from the user.
    name : str
        Name in error messages.
    finite : bool
        Whether NaN and infinity are refused.

    Raises
    ------
    HyperparameterError
        If it is not made of real numbers, or its rows differ in length.
    """
    array = _array(unwrapped(value), name)
    if finite and not np.isfinite(array).all():
        raise _refused(name, value, "it is not finite (infinite or NaN)", "give finite numbers")
    return array


def whole_number(value: Any, name: str, least: int, bound: int = 2**63, why: str = "") -> int:
    """Return a whole number that was given as any kind of number; ``1e3`` is one.

    Parameters
    ----------
    value : number
        Value from the user.
    name : str
        Name in error messages.
    least, bound : int
        ``least <= value < bound``.
    why : str
        Why it cannot be smaller, for the message.

    Raises
    ------
    HyperparameterError
        If it is not a whole number of this range.
    """
    try:
        number = exact(value)
    except TypeError:
        number = None
    if number is None or not number.is_Integer or not least <= number < bound:
        raise HyperparameterError(
            f"{name}={value!r}",
            f"not a whole number from {least} to {bound - 1}{why}",
            "give a positive integer" if least else "give one",
        )
    return int(number)


def listed(value: Any, name: str) -> tuple[Any, ...] | None:
    """Return the entries of an ordered list of numbers or expressions, None if it is a single one.

    Parameters
    ----------
    value : number, expression, list, tuple, range or array of one axis
        Sets, mappings and generators have no order of their own or are used up by reading.
    name : str
        Name in error messages.

    Raises
    ------
    HyperparameterError
        If it is a container of another kind.
    """
    value = unwrapped(value)
    if isinstance(value, str | bytes | sp.Basic | sp.MatrixBase | sp.NDimArray):
        return None
    if isinstance(value, Sequence):
        return tuple(value)
    if isinstance(value, Mapping | Set | Iterator):
        raise HyperparameterError(
            f"{name} given as a {type(value).__name__}",
            "its entries have no order, have keys, or can be read only once",
            "give a list or an array with one entry per block",
        )
    if not hasattr(value, "__array__"):
        return None
    # Arrays of objects hold expressions; all others are numbers.
    is_object = getattr(getattr(value, "dtype", None), "kind", "") == "O"
    array = np.asarray(value) if is_object else real_array(value, name)
    if array.ndim > 1:
        raise HyperparameterError(
            f"{name} of shape {array.shape}", "a list has one axis", "give shape (depth,)"
        )
    return tuple(array.tolist()) if array.ndim else None


def _array(value: Any, name: str) -> Array:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise _refused(name, value, "entries of it are masked, so they have no value")
    odd = isinstance(value, sp.Basic) and not isinstance(value, sp.Expr | sp.MatrixBase)
    if isinstance(value, Mapping | Set | Iterator | type) or value is None or odd:
        raise _refused(name, value, NO_NUMBER)
    if isinstance(value, list | tuple) and any(map(_is_no_number, set(map(type, value)))):
        return _of_entries(value, name)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return _of_entries(value, name)
    return _doubles(array, value, name)


def _is_no_number(kind: type) -> bool:
    """Whether NumPy would convert such an entry of a list silently, or fail at it."""
    odd = issubclass(kind, bool | np.bool_ | list | tuple | np.ma.MaskedArray)
    return odd or hasattr(kind, "detach")


def _of_entries(value: Any, name: str) -> Array:
    """Return an array from the entries of a list, read one by one."""
    if not isinstance(value, list | tuple):
        # bfloat16 of PyTorch has no counterpart in NumPy.
        if hasattr(value, "double"):
            return _doubles(np.asarray(value.double()), value, name)
        raise _refused(name, value, NO_NUMBER)
    parts = [_array(unwrapped(entry), name) for entry in value]
    if len({part.shape for part in parts}) > 1:
        raise _refused(name, value, f"{NO_NUMBER} (its rows differ in length)")
    return np.stack(parts)


def _doubles(array: NDArray[Any], value: Any, name: str) -> Array:
    kind = array.dtype.kind
    if kind == "O":
        try:
            flat = [float(exact(entry)) for entry in array.ravel().tolist()]
        except (TypeError, ValueError, OverflowError):
            raise _refused(name, value, NO_NUMBER) from None
        return np.array(flat, dtype=np.float64).reshape(array.shape)
    # Extension types such as bfloat16 have names of their own.
    if kind in "iuf" or array.dtype.name.startswith(("bfloat", "float")):
        with np.errstate(over="ignore"):
            return np.asarray(array, dtype=np.float64)
    what = _KINDS.get(kind, f"of type {array.dtype}")
    raise _refused(name, value, f"{NO_NUMBER} (found {what}, not real numbers)")


def _refused(name: str, value: Any, why: str, remedy: str = "give real numbers") -> Exception:
    shown = repr(value)
    shown = f"{shown[:57]}..." if len(shown) > 60 else shown
    return HyperparameterError(f"{name} = {shown}", why, remedy)


def hyperparameter(value: object, name: str, *, minimum: int | None = None) -> sp.Expr:
    """Return a hyperparameter as an exact SymPy expression, or say why it cannot be one.

    Parameters
    ----------
    value : number, sympy.Expr or str
        Numbers become exact rationals; text is read as an expression, ``"c/sqrt(L)"``.
    name : str
        Name in error messages.
    minimum : int, optional
        Smallest allowed value of a number.

    Raises
    ------
    DescriptionError
        If the value is not a finite real number or symbol, or is below the minimum.
    ExpressionError
        If a text is no expression.
    """
    if isinstance(value, str):
        known = (DEPTH, RHO, SIGMA_W2, SIGMA_B2)
        value = parse_expression(value, known, allow_symbols=True)
    try:
        expression = exact(value)
    except TypeError as error:
        raise DescriptionError(
            f"{name} = {value!r}", str(error), "give a number or symbol"
        ) from None
    if expression.is_number and not (expression.is_real and expression.is_finite):
        raise DescriptionError(f"{name} = {value}", "it is not a finite real number", "give one")
    if minimum is not None and expression.is_number and expression < minimum:
        raise DescriptionError(
            f"{name} = {value}", f"it must not be below {minimum}", f"give a {name} >= {minimum}"
        )
    return expression
