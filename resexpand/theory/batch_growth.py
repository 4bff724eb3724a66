r"""Growth of normalised batches in closed form: of the second moment, and of the batch variance.

Behind BatchNorm without eps, a batch of B exchangeable inputs is uniform on a sphere whatever its
kernel was, so that a block ``h + rho (W psi(BN(h)) + b)`` adds the same everywhere. For psi of one
slope on either side of zero, ``psi(x) = p x + q |x|``, both averages are those of unit normals, two
of them with the correlation ``c = -1/(B - 1)``,

    V_B = p^2 + q^2,      J_B = p^2 c + q^2 (2/pi) (sqrt(1 - c^2) + c asin(c)),

and with ``d = rho^2 (sigma_w^2 V_B + sigma_b^2)``, ``e = rho^2 sigma_w^2 (V_B - J_B)``

    K_11^l = K_11^0 + l d,      v^l = (1 - 1/B) (K_11^0 - K_12^0 + l e),

v the biased variance over the batch at fixed weights. For relu and ``rho^2 sigma_w^2 = 2`` without
biases ``d = 1`` at every B and ``e -> 1 - 1/pi`` for large ones.

Source: De & Smith (2020); finite batches derived here.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.traits import is_homogeneous
from resexpand.conventions import PAIR0
from resexpand.errors import UnsupportedError
from resexpand.network.batch_norm import is_plain
from resexpand.network.noise import Outcomes
from resexpand.network.operation import X
from resexpand.network.resnet import ResNet
from resexpand.theory.batch import BatchRecursion, Stage
from resexpand.theory.batch_gradients import SIZE
from resexpand.theory.closure import close_elementary
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import kernel
from resexpand.theory.noise import mean_function

ANGLE = -1 / (SIZE - 1)
SHORT = 60
"""Operations of an expression that is simplified."""


def batch_growth(net: ResNet) -> tuple[BatchRecursion, dict[str, sp.Expr]]:
    """Return the kernel of a batch, and what a block adds and scales by name.

    Returns
    -------
    BatchRecursion
        Of the kernel.
    dict
        ``moment`` and ``variance``, what a block adds to ``K_11`` and to ``K_11 - K_12``, ``large
        moment`` and ``large variance``, the same for large batches, and ``rho``.

    Raises
    ------
    UnsupportedError
        If blocks differ, or statistics or maps are others than above.
    """
    base = kernel(net, inputs="batch")
    hyper = Hyperparameters(net, dict(base.bindings), dict(base.layer_bindings))
    one = net.skip == 1 and not net.post and not base.layer_bindings
    if not one or not all(_is_known(stage, dict(base.bindings)) for stage in base.stages):
        raise UnsupportedError(
            f"the growth of {net!r} in closed form",
            "it is known for equal blocks on a stream without a factor, with BatchNorm(0) of one "
            "batch in front of activations of two slopes",
            'evaluate(kernel(net, inputs="batch"), K0=...) gives it layer by layer',
        )
    added = {"rho": hyper.scale().xreplace(dict(base.bindings))}
    for name, angle in (("", ANGLE), ("large ", sp.Integer(0))):
        own, pair = _added(base, angle)
        added |= {f"{name}moment": own, f"{name}variance": _short(own - pair)}
    if any(value.has(*base.state) for value in added.values()):
        raise UnsupportedError(
            f"the growth of {net!r} in closed form",
            "what a block adds depends on the kernel in front of it",
            "put BatchNorm() in front of every activation",
        )
    return base, added


def _short(expression: sp.Expr) -> sp.Expr:
    """Return an expression simplified, unless that takes long."""
    return sp.simplify(expression) if sp.count_ops(expression) < SHORT else expression


def _added(base: BatchRecursion, angle: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Return what a block adds to the entries 11 and 12."""
    at = {s: value for s, value in base.bindings if s != value}
    for stage in base.stages:
        at |= dict(zip(stage.symbols[:2], _averages(stage.functions, angle), strict=True))
    # The averages hold parameters of the maps themselves.
    entries = (base.flat_update[k].xreplace(at).xreplace(at) - base.state[k] for k in (0, 1))
    own, pair = (close_elementary(sp.expand(one), base.laws) for one in entries)
    return own, pair


def _is_known(stage: Stage, at: dict[sp.Symbol, sp.Expr]) -> bool:
    functions = [function.xreplace(at) for function, _ in stage.functions]
    return is_plain(stage.op) and all(is_homogeneous(f) or f == 0 for f in functions)


def _averages(functions: Outcomes, angle: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Return V_B and J_B of functions that masks draw."""
    square = sp.Add(*(chance * sp.Add(*(s**2 for s in _sides(f))) for f, chance in functions))
    odd, even = _sides(mean_function(functions))
    folded = sp.sqrt(1 - angle**2) + angle * sp.asin(angle)
    return square, odd**2 * angle + even**2 * 2 / sp.pi * folded


def _sides(function: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Return p and q."""
    up, down = (sp.Add(function).xreplace({X: sp.Integer(s)}).doit() for s in (1, -1))
    return (up - down) / 2, (up + down) / 2


def start() -> tuple[sp.Expr, sp.Expr]:
    """Return ``K_11^0`` and ``K_11^0 - K_12^0``."""
    return PAIR0[0], PAIR0[0] - PAIR0[1]
