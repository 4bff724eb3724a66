r"""Which statements of order 1/N hold for weights that are not Gaussian, and what the others gain.

Weights are independent, with mean zero and variance ``sigma_w^2 / N``; inputs ``h^0`` and biases
are Gaussian. Given the features it acts on, a row of a linear operation is a sum of N independent
terms: rows are independent of each other and have the covariance ``C`` under every law, but they
are Gaussian for Gaussian weights alone. With ``mu_4 = E w^4 / (E w^2)^2`` (3 for Gaussian weights,
1.8 for uniform ones, 1 for signs) a component has the fourth cumulant ``Q / N``,

    Q_a = (mu_4 - 3) sigma_a^4 <phi^4>,

and Edgeworth's first correction moves averages of the features by ``Q <f''''> / (24 N)``, ``f =
phi^2``. Price's theorem makes ``sigma_w^2 <f''''> / 4`` the curvature ``H`` of the tadpole: what is
added there is ``H Q / 6`` for every draw that is read, with the fourth power of its residual scale.
A skewed law adds ``kappa_3 <f'''> / 6`` before that, of order ``N^(-1/2)``; it vanishes for odd or
even ``phi``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.averages import fourth_moment
from resexpand.theory.one_loop.derived import EARLIER, LAYER, Derived
from resexpand.theory.one_loop.quantities import quantity

FOURTH_MOMENT = sp.Symbol("mu_4", positive=True)
"""``E w^4 / (E w^2)^2`` of the weights."""

Laws = Literal["independent", "symmetric", "gaussian"]


@dataclass(frozen=True)
class Statement:
    """A statement about networks of finite width, and the laws of weights under which it holds.

    Attributes
    ----------
    text : str
        The statement.
    order : str
        ``exact``, at every width, or the order to which it holds.
    holds_for : {"independent", "symmetric", "gaussian"}
        Independent weights of any law with a finite fourth moment; of a law that is symmetric about
        zero, or any law if the activations are odd or even; Gaussian weights alone.
    otherwise : str
        Its form under other laws; empty if it holds for all independent weights.
    """

    text: str
    order: str
    holds_for: Laws
    otherwise: str = ""

    def __str__(self) -> str:
        rest = f" ({self.otherwise})" if self.otherwise else ""
        return f"{self.holds_for}, {self.order}: {self.text}{rest}"


SKEWED = "a skewed law adds a term of order N^(-1/2) where phi is neither odd nor even"

STATEMENTS = (
    Statement(
        "given the layer before, rows of a linear operation are independent, with covariance C",
        "exact",
        "independent",
    ),
    Statement("E G^l = K^0 + sum of rho^2 E C^m over m <= l", "exact", "independent"),
    Statement("mean and variance of C in the first block", "exact", "independent"),
    Statement("kernels K, C and responses at infinite width", "leading order", "independent"),
    Statement(
        "covariances N Cov(C), N Cov(K), N Cov(G) within and between layers, the source, the "
        "propagators, and with them the validity",
        "leading order",
        "independent",
    ),
    Statement("the tadpole and the conditioning term of the mean", "leading order", "independent"),
    Statement(
        "the mean: tadpole, conditioning and H Q / 6, with Q = (mu_4 - 3) sigma_w^4 <phi^4>",
        "order 1/N",
        "symmetric",
        SKEWED,
    ),
    Statement(
        "the mean is tadpole and conditioning alone",
        "order 1/N",
        "gaussian",
        "H Q / 6 is added; it vanishes for one input of a branch whose curvature H does, such as "
        "relu or a linear one",
    ),
    Statement(
        "an output is Gaussian given its Gram matrix: four-point functions are Cov(C), and the "
        "excess kurtosis is 3 Var C / C^2",
        "exact",
        "gaussian",
        "to order 1/N the fourth cumulant is 3 Var C + Q / N under a symmetric law",
    ),
    Statement(
        "the moments of exact_moments(net)",
        "exact",
        "gaussian",
        "means of a linear network hold for independent weights",
    ),
)
"""Orthogonal weights are not independent: of these, only infinite width holds for them."""


def weight_formulas(made: Derived) -> list[Formula]:
    """Return what independent symmetric weights of another law add to the order 1/N."""
    draws = made.process.draws
    result = []
    for draw in draws:
        weight, _ = made.variances(draw)
        result.append(
            made.formula(
                made.name("fourth_cumulant", draw),
                quantity("Q", LAYER, draw=made.place(draw)),
                (FOURTH_MOMENT - 3) * weight**2 * fourth_moment(made, draw),
                "fourth cumulant of a component, times N, given what it acts on",
            )
        )
    for draw in draws:
        result.append(
            made.formula(
                made.name("weights", draw),
                quantity("weights", LAYER, draw=made.place(draw)),
                quantity("H", LAYER, draw=made.place(draw)) * _read(made, draw.position) / 6,
                "added to tadpole and conditioning: components that are read are not Gaussian",
            )
        )
    end = DEPTH + 1
    last = 0 if made.process.read_out else made.place(draws[-1])
    own = 3 * quantity("gram_covariance", end, end) + quantity("Q", end, draw=last)
    return [
        *result,
        made.formula(
            "weights_kurtosis",
            quantity("weights_kurtosis", end),
            own / quantity("C", end, draw=last) ** 2,
            "excess kurtosis of the output, times N",
        ),
    ]


def _read(made: Derived, position: int) -> sp.Expr:
    """Return the fourth cumulant, times N, of what a draw reads."""
    if position > 1:
        return quantity("Q", LAYER, draw=position - 1)
    last = made.place(made.process.draws[-1])
    each = made.scale(EARLIER) ** 4 * quantity("Q", EARLIER, draw=last)
    return sp.Sum(each, (EARLIER, 1, LAYER - 1))
