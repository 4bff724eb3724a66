r"""Regenerate the polynomials of `resexpand.codegen.elementary.polynomials`.

Each elementary function is reduced to a small interval on which a smooth remainder :math:`F` is
replaced by the polynomial :math:`P` of given degree that minimises
:math:`\max |w(x)\,(P(x) - F(x))|`. The exchange algorithm of Remez runs on a Chebyshev grid with
mpmath at 60 digits: solve for the polynomial whose weighted error alternates between two equal
levels on the reference points, move the reference to the extrema, repeat. The coefficients are
then rounded to double precision, and the largest weighted error of the *rounded* polynomial is
written beside each one.

How a polynomial is printed weighs two things. The chain of Horner has the fewest operations, and
each waits for the one before; the tree of Estrin is the shortest wait, at the price of one product
per power of two. In long loops over arrays the units for products are what is short, unless the
chain is too long for the processor to work on several entries at once: there the polynomial is
printed as two chains in the square of the variable (``PAIRS``), or as one chain in the fourth power
(``FOURS``). The others are trees.

Usage: ``python numerics/elementary_coefficients.py`` prints the module,
``--write`` replaces the file, ``--check`` compares it (exit code 1 if it differs).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpmath import mp, mpf

TARGET = Path(__file__).parents[1] / "resexpand/codegen/elementary/polynomials.py"
DIGITS = 60
GRID = 700
EXCHANGES = 12

Real = Callable[[mpf], mpf]


TREE, PAIRS, FOURS = "tree", "pairs", "fours"


@dataclass(frozen=True)
class Fit:
    """One remainder: its name, meaning, interval, weight, number of coefficients, and form."""

    name: str
    meaning: str
    variable: str
    low: str
    high: str
    terms: int
    remainder: Real
    weight: Real
    form: str = TREE

    @property
    def interval(self) -> tuple[mpf, mpf]:
        """The ends of the interval as mpmath numbers (texts such as ``"log(2)/2"``)."""
        return ENDS[self.low](), ENDS[self.high]()


ENDS: dict[str, Callable[[], mpf]] = {
    "-log(2)/2": lambda: -mp.log(2) / 2 * mpf("1.0001"),
    "log(2)/2": lambda: mp.log(2) / 2 * mpf("1.0001"),
    "(sqrt(2)-1)**4": lambda: (mp.sqrt(2) - 1) ** 4 * mpf("1.0001"),
    "tan(pi/8)**2": lambda: (mp.sqrt(2) - 1) ** 2 * mpf("1.0001"),
    "(pi/4)**2": lambda: (mp.pi / 4) ** 2 * mpf("1.0001"),
    "0": lambda: mpf(0),
    "1/4": lambda: mpf(1) / 4,
    "0.55**2": lambda: mpf("0.55") ** 2,
    "0.75**2": lambda: mpf("0.75") ** 2,
    "5.25": lambda: mpf("5.25"),
    "1": lambda: mpf(1),
    "-1": lambda: mpf(-1),
    "1/2": lambda: mpf("0.5"),
    "-1/2": lambda: mpf("-0.5"),
}

ERFC_CENTRE = mpf(4)


def _erfc_remainder(t: mpf) -> mpf:
    """(1 + 2x) exp(x²) erfc(x) at x = a (1 + t)/(1 - t)."""
    x = ERFC_CENTRE * (1 + t) / (1 - t)
    if x > 1000:  # the asymptotic series, where exp(x²) would need thousands of digits
        inverse = 1 / (2 * x * x)
        total, term = mpf(1), mpf(1)
        for n in range(1, 12):
            term *= -(2 * n - 1) * inverse
            total += term
        return (1 + 2 * x) / (x * mp.sqrt(mp.pi)) * total
    with mp.extradps(20):
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def _root(function: Real, power: int) -> Real:
    """The odd function f as a function of z = x²: (f(x) - x)/x**power."""
    return lambda z: (function(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** power


FITS = (
    Fit(
        "exp_tail",
        "exp(r) = 1 + r + r²/2 + r³ P(r)",
        "r",
        "-log(2)/2",
        "log(2)/2",
        9,
        lambda r: (mp.expm1(r) - r - r**2 / 2) / r**3,
        lambda r: r**3 / mp.expm1(r),
        PAIRS,
    ),
    Fit(
        "power_of_two",
        "2**r = P(r)",
        "r",
        "-1/2",
        "1/2",
        12,
        lambda r: mpf(2) ** r,
        lambda r: mpf(2) ** -r,
        FOURS,
    ),
    Fit(
        "log_tail",
        "log((1 + s)/(1 - s)) = 2 s + s z P(z), z = s²",
        "z",
        "0",
        "(sqrt(2)-1)**4",
        8,
        lambda z: (2 * mp.atanh(mp.sqrt(z)) - 2 * mp.sqrt(z)) / mp.sqrt(z) ** 3,
        lambda z: z / 2,
    ),
    Fit(
        "asin_tail",
        "asin(s) = s + s z P(z), z = s²",
        "z",
        "0",
        "1/4",
        12,
        _root(mp.asin, 3),
        lambda z: z,
    ),
    Fit(
        "atan_tail",
        "atan(t) = t + t z P(z), z = t²",
        "z",
        "0",
        "tan(pi/8)**2",
        11,
        _root(mp.atan, 3),
        lambda z: z,
    ),
    Fit(
        "sin_tail",
        "sin(r) = r + r z P(z), z = r²",
        "z",
        "0",
        "(pi/4)**2",
        6,
        _root(mp.sin, 3),
        lambda z: z * mp.sqrt(z) / mp.sin(mp.sqrt(z)),
    ),
    Fit(
        "cos_tail",
        "cos(r) = 1 - z/2 + z² P(z), z = r²",
        "z",
        "0",
        "(pi/4)**2",
        6,
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
    ),
    Fit(
        "tanh_tail",
        "tanh(a) = a + a z P(z), z = a²",
        "z",
        "0",
        "0.55**2",
        11,
        _root(mp.tanh, 3),
        lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)),
        PAIRS,
    ),
    Fit(
        "erf_inner",
        "erf(x) = x + x P(z), z = x²",
        "z",
        "0",
        "0.75**2",
        11,
        _root(mp.erf, 1),
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
        PAIRS,
    ),
    Fit(
        "erf_outer",
        "erf(3/4 + u) = 1 - 2**P(u)",
        "u",
        "0",
        "5.25",
        19,
        lambda u: mp.log(mp.erfc(0.75 + u), 2),
        lambda u: mp.log(2) * mp.erfc(0.75 + u) / mp.erf(0.75 + u),
        FOURS,
    ),
    Fit(
        "erfc_tail",
        "erfc(x) = exp(-x²) P(t)/(1 + 2x), t = (x - 4)/(x + 4)",
        "t",
        "-1",
        "1",
        24,
        _erfc_remainder,
        lambda t: 1 / _erfc_remainder(t),
    ),
)


def _grid(low: mpf, high: mpf) -> list[mpf]:
    """Chebyshev points, ordered, never at the ends (where a remainder is 0/0)."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos((2 * j + 1) * mp.pi / (2 * GRID)) for j in range(GRID)]


def _polynomial(coefficients: Sequence[mpf], x: mpf) -> mpf:
    return mp.polyval(list(reversed(coefficients)), x)


def _levelled(points: list[mpf], values: list[mpf], weights: list[mpf]) -> list[mpf]:
    """The polynomial whose weighted error alternates in sign at equal level on `points`."""
    size = len(points)
    matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
    for i, x in enumerate(points):
        for j in range(size - 1):
            matrix[i, j] = x**j
        matrix[i, size - 1] = (-1) ** i / weights[i]
        right[i] = values[i]
    return list(mp.lu_solve(matrix, right))[:-1]


def _extrema(errors: list[mpf], count: int) -> list[int]:
    """Indices of the largest error of each run of equal sign, cut to `count` at the ends."""
    runs: list[int] = []
    for i, error in enumerate(errors):
        if runs and mp.sign(errors[runs[-1]]) == mp.sign(error):
            if abs(error) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    return runs


def fit(task: Fit) -> tuple[list[float], float]:
    """Coefficients rounded to double precision, constant term first, and the weighted error."""
    with mp.workdps(DIGITS):
        points = _grid(*task.interval)
        values = [task.remainder(x) for x in points]
        weights = [task.weight(x) for x in points]
        count = task.terms + 1
        reference = [
            round((GRID - 1) * (1 - float(mp.cos(mp.pi * i / task.terms))) / 2)
            for i in range(count)
        ]
        for _ in range(EXCHANGES):
            exact = _levelled(*([seq[i] for i in reference] for seq in (points, values, weights)))
            errors = [
                w * (_polynomial(exact, x) - v)
                for x, v, w in zip(points, values, weights, strict=True)
            ]
            moved = _extrema(errors, count)
            if moved == reference or len(moved) < count:
                break
            reference = moved
        rounded = [float(c) for c in exact]
        worst = max(
            abs(w * (_polynomial([mpf(c) for c in rounded], x) - v))
            for x, v, w in zip(points, values, weights, strict=True)
        )
        return rounded, float(worst)


def estrin(terms: Sequence[str], variable: str) -> list[str]:
    """Return lines that evaluate a polynomial of two terms or more as a balanced tree."""
    lines, level, power = [], list(terms), variable
    for depth in range(1, 10):
        if len(level) == 2:
            return [*lines, f"return {level[0]} + {power} * {level[1]}"]
        pairs = []
        for j in range(0, len(level) - 1, 2):
            name = f"p{depth}_{j // 2}"
            lines.append(f"{name} = {level[j]} + {power} * {level[j + 1]}")
            pairs.append(name)
        if len(level) % 2:
            pairs.append(level[-1])
        level = pairs
        if len(level) > 1:
            lines.append(f"{variable}{2**depth} = {power} * {power}")
            power = f"{variable}{2**depth}"
    raise ValueError("a polynomial of more than 512 terms was asked for")


def pairs(terms: Sequence[str], variable: str) -> list[str]:
    """Return lines that evaluate a polynomial by one chain of its even terms and one of its odd."""
    square = f"{variable}2"
    lines = [f"{square} = {variable} * {variable}"]
    for name, chain in (("even", terms[0::2]), ("odd", terms[1::2])):
        lines.append(f"{name} = {chain[-1]}")
        lines += [f"{name} = {term} + {square} * {name}" for term in reversed(chain[:-1])]
    return [*lines, f"return even + {variable} * odd"]


def fours(terms: Sequence[str], variable: str) -> list[str]:
    """Return lines that evaluate a polynomial by one chain of its blocks of four terms."""
    square, fourth = f"{variable}2", f"{variable}4"
    lines = [f"{square} = {variable} * {variable}", f"{fourth} = {square} * {square}"]
    blocks = [terms[j : j + 4] for j in range(0, len(terms), 4)]
    for block in reversed(blocks):
        halves = [f" + {variable} * ".join(half) for half in (block[:2], block[2:]) if half]
        lines += [f"p{j} = {half}" for j, half in enumerate(halves)]
        value = f"p0 + {square} * p1" if len(halves) == 2 else "p0"
        if block is not blocks[-1]:
            value = f"({value}) + {fourth} * p"
        lines.append(f"return {value}" if block is blocks[0] else f"p = {value}")
    return lines


FORMS: dict[str, Callable[[Sequence[str], str], list[str]]] = {
    TREE: estrin,
    PAIRS: pairs,
    FOURS: fours,
}


def function_text(task: Fit) -> str:
    """The Python function of one polynomial."""
    coefficients, worst = fit(task)
    body = FORMS[task.form]([repr(c) for c in coefficients], task.variable)
    lines = [
        f"def {task.name}({task.variable}: float) -> float:",
        f'    """P of {task.meaning}.',
        "",
        f"    Interval [{task.low}, {task.high}], largest weighted error {worst:.1e}.",
        '    """',
        *(f"    {line}" for line in body),
    ]
    return "\n".join(lines)


def _split(value: mpf, bits: int) -> tuple[mpf, mpf]:
    """The leading `bits` bits of a positive number, and what remains."""
    step = mpf(2) ** (mp.floor(mp.log(value, 2)) + 1 - bits)
    leading = mp.floor(value / step) * step
    return leading, value - leading


def constants_text() -> str:
    """The split constants: each name with the double nearest to its part."""
    with mp.workdps(DIGITS):
        log_high, log_low = _split(mp.log(2), 40)
        first, rest = _split(mp.pi / 2, 30)
        second, rest = _split(rest, 30)
        third, fourth = _split(rest, 30)
        parts: dict[str, mpf] = {
            "LOG2_E": 1 / mp.log(2),
            "LOG_2_HIGH": log_high,
            "LOG_2_LOW": log_low,
            "TWO_OVER_PI": 2 / mp.pi,
            "HALF_PI_FIRST": first,
            "HALF_PI_SECOND": second,
            "HALF_PI_THIRD": third,
            "HALF_PI_FOURTH": fourth,
            "TAN_PI_8": mp.sqrt(2) - 1,
        }
        for name, value in (("PI", mp.pi), ("HALF_PI", mp.pi / 2), ("QUARTER_PI", mp.pi / 4)):
            nearest = mpf(float(value))
            parts[name], parts[f"{name}_LOW"] = nearest, value - nearest
        return "\n".join(f"{name} = {float(value)!r}" for name, value in parts.items())


HEADER = '''"""Minimax polynomials and split constants of the elementary functions.

Written by ``numerics/elementary_coefficients.py``, which states the method and regenerates this
file; not edited by hand. Valid on the stated interval alone; the error is that of the rounded
coefficients, weighted such that it is the relative error it causes in the function. A constant is
split where a product with a whole number must be exact (``HIGH``, ``FIRST`` to ``THIRD``), or where
its rounding error is added back (``LOW``).
"""

from __future__ import annotations
'''


def module_text() -> str:
    """The whole module."""
    head = f"{HEADER}\n{constants_text()}"
    return "\n\n\n".join([head, *(function_text(task) for task in FITS)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, write or check the module of polynomials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help="replace the module")
    group.add_argument("--check", action="store_true", help="exit code 1 if the module differs")
    options = parser.parse_args(arguments)
    text = module_text()
    if options.check:
        return int(TARGET.read_text(encoding="utf-8") != text)
    if options.write:
        TARGET.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
