"""The largest residual scale at which high orders of the path sum carry at most a given part."""

from __future__ import annotations

import numpy as np

from resexpand.conventions import RHO
from resexpand.errors import UnsupportedError
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.scales.candidate import Choice, Setting, candidate
from resexpand.numbers.scales.shares import profile_of

RANGE = (1e-4, 1e2)
POINTS = 49
ROUNDS = 8


@candidate(
    "path_orders",
    "few orders",
    "a truncated path sum describes the network; independent weights, infinite width",
    "dherin2025",
)
def path_orders(setting: Setting) -> Choice:
    """Return the first scale, from zero on, at which the part is reached."""
    if setting.order > setting.depth:
        raise UnsupportedError(
            f"orders >= {setting.order} at depth {setting.depth}",
            f"{setting.depth} blocks have no path through {setting.order} of them",
        )
    theory = profile_of(setting.net, setting.order)
    low, high = RANGE
    for _ in range(ROUNDS):
        scales = np.geomspace(low, high, POINTS)
        given = {**setting.keywords(setting.net), RHO.name: scales}
        profile = evaluate(theory, outputs=["remainder", "K"], **given)
        with np.errstate(invalid="ignore"):  # far beyond, both overflow: that counts as over
            part = profile["remainder"][:, -1, setting.order - 1] / profile["K"][:, -1]
        over = np.nonzero(~(part <= setting.share))[0]
        if not over.size or over[0] == 0:
            side = "largest" if not over.size else "smallest"
            raise UnsupportedError(
                "a scale with so few orders",
                f"the part is on one side of {setting.share:g} up to the {side} scale, "
                f"{(high if not over.size else low):g}",
            )
        low, high = scales[over[0] - 1], scales[over[0]]
    what = f"orders >= {setting.order} carry at most {setting.share:g} of the state"
    return Choice(float(low), float(low), remark=what)
