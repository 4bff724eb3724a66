r"""Which law the weights of a matrix follow: their variance, and whether they are independent.

Three numbers of standard normal law under the hypothesis of independent Gaussian entries, n of them
in a matrix of r rows and c columns:

    excess kurtosis        divided by sqrt(24 / n)
    largest singular value (s^2/v - (sqrt(r) + sqrt(c))^2) over the scale of Tracy and Widom,
                           whose law has the mean -1.21 and the standard deviation 1.27
    overlap of two blocks  sum of W W' / (v sqrt(n))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LIMIT = 5.0
"""Scores beyond do not come from chance, with hundreds of matrices."""

NEARLY = 0.02
"""Excess kurtosis that makes no difference, however certain it is."""

ITERATIONS = 40
UNIFORM = -1.2


@dataclass(frozen=True)
class WeightLaw:
    """The law of the weights of one linear map.

    Attributes
    ----------
    name : str
        Path of the module, or of the function.
    block : str
        Name of its block.
    variance, bias_variance : float
        Mean square of weights times their fan-in, and of biases.
    mean : float
        Mean of the weights in standard errors.
    kurtosis, kurtosis_score : float
        Excess kurtosis, and in standard errors.
    edge_score : float
        Excess of the largest singular value over that of independent entries.
    overlap_score : float
        Largest overlap with the map at the same place in another block; NaN without one.
    """

    name: str
    block: str
    variance: float
    bias_variance: float
    mean: float
    kurtosis: float
    kurtosis_score: float
    edge_score: float
    overlap_score: float = np.nan

    @property
    def is_gaussian(self) -> bool:
        """Whether the entries look Gaussian."""
        return abs(self.kurtosis_score) < LIMIT or abs(self.kurtosis) < NEARLY

    @property
    def is_independent(self) -> bool:
        """Whether rows, columns and blocks look independent."""
        apart = not abs(self.overlap_score) > LIMIT
        return self.edge_score < LIMIT and abs(self.mean) < LIMIT and apart

    @property
    def law(self) -> str:
        """The law in a word or two."""
        if not self.variance:
            return "zero"
        uniform = abs(self.kurtosis - UNIFORM) < NEARLY
        entries = "Gaussian" if self.is_gaussian else "uniform" if uniform else "not Gaussian"
        return f"{entries}, {'independent' if self.is_independent else 'dependent'}"


def law_of(torch: Any, name: str, block: str, weight: Any, bias: Any) -> WeightLaw:
    """Return the law of a matrix of shape (outputs, inputs)."""
    matrix = weight.detach().to(torch.float64)
    rows, columns = matrix.shape
    square = float((matrix**2).mean())
    biases = 0.0 if bias is None else float((bias.detach().double() ** 2).mean())
    if not square:
        return WeightLaw(name, block, 0.0, biases, 0.0, 0.0, 0.0, 0.0)
    count = matrix.numel()
    centred = matrix - matrix.mean()
    kurtosis = float((centred**4).mean() / (centred**2).mean() ** 2) - 3
    mean = float(matrix.mean()) / (square / count) ** 0.5
    low, high = sorted((rows, columns))
    middle = (max(high - 1, 1) ** 0.5 + low**0.5) ** 2
    scale = middle**0.5 * (1 / max(high - 1, 1) ** 0.5 + 1 / low**0.5) ** (1 / 3)
    edge = ((_largest(torch, matrix) / square - middle) / scale + 1.21) / 1.27
    return WeightLaw(
        name,
        block,
        square * columns,
        biases,
        mean,
        kurtosis,
        kurtosis / (24 / count) ** 0.5,
        edge,
    )


def overlap(one: Any, two: Any) -> float:
    """Return the overlap of two matrices of one shape in standard errors; NaN for other shapes."""
    if one.shape != two.shape:
        return float("nan")
    a, b = one.detach().double(), two.detach().double()
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size * a.numel() ** 0.5 if size else 0.0


def _largest(torch: Any, matrix: Any) -> float:
    """Return the square of the largest singular value, by powers: from below."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    vector = torch.randn(matrix.shape[1], dtype=matrix.dtype, generator=generator)
    vector = vector.to(matrix.device)
    for _ in range(ITERATIONS):
        vector = matrix.T @ (matrix @ vector)
        size = vector.norm()
        vector = vector / size
    return float(size)
