"""Products in blocks are the products, and no block is one that a library divides over threads."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand.codegen.products import BLOCK, block_product

DIVIDED_FROM = 4 * 65536
"""``m n k`` beyond which OpenBLAS uses threads (``interface/gemm.c``)."""


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (64, 64, 64), (3, 561, 256), (130, 65, 67), (0, 5, 2)]
)
def test_blocks_add_up(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(m)
    a, b = rng.integers(-9, 9, (m, k)).astype(float), rng.integers(-9, 9, (n, k)).astype(float).T
    assert (block_product(a, b) == a @ b).all()
    assert BLOCK**3 <= DIVIDED_FROM
