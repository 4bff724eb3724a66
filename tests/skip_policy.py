"""Which tests may be skipped, and how many.

A skip whose reason is not in `ALLOWED_SKIPS` fails the run, and so do more skips of one reason than
stated there: a test that silently stops running is worse than one that fails.
"""

from __future__ import annotations

import re

# Reason (a regular expression that matches all of it) -> how many tests may give it.
ALLOWED_SKIPS: dict[str, int] = {
    r"chromium is not installed": 1,
    r"pdflatex is not installed": 20,
    r"python-flint is not installed": 10,
    r"PyTorch is not installed": 200,
    r"transformers is not installed": 10,
    r"dask and distributed are not installed": 2,
    r"mpi4py or mpiexec is not installed": 2,
    r"no folder that even root cannot write": 1,
    r"numba-cuda is not installed": 200,
    r"ptxas is not installed": 100,
    r"there is no CUDA device": 50,
}


def unlisted_skips(skips: dict[str, list[str]]) -> list[str]:
    """Name each skip that `ALLOWED_SKIPS` does not cover, one sentence each."""
    complaints = []
    for reason, nodes in sorted(skips.items()):
        bound = next(
            (n for pattern, n in ALLOWED_SKIPS.items() if re.fullmatch(pattern, reason)), 0
        )
        if len(nodes) > bound:
            complaints.append(
                f"{len(nodes)} skipped, {bound} allowed: {reason} (first: {nodes[0]})"
            )
    return complaints
