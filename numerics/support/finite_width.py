r"""The order ``1/N`` against samples: one network at several widths, its coefficients compared.

A coefficient of ``1/N`` is sampled as ``N`` times a deviation from infinite width. At width ``N``
that is ``c_1 + c_2/N + ...``; the straight line through several widths has ``c_1`` at ``1/N = 0``.
What it leaves out is of the relative size ``(v/N)^2``, ``v = max_l N Var(G^l)/(K^l)^2``, the
parameter of the expansion: widths with ``v/N`` above `LARGEST_PARAMETER` are not used.

Means are sampled with the infinite-width twin as control variate, covariances without. With the
twin the error of ``N dC`` does not grow with the width, and it is so small that the curvature
shows: for means three widths are enough, the smallest with ``v/N`` below `STRAIGHT_PARAMETER`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.agreement.comparison import compare
from resexpand.agreement.extrapolation import extrapolate
from resexpand.agreement.outcome import Agreement
from resexpand.agreement.shape import Sampled
from resexpand.montecarlo.sample import sample
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.network.activation import Activation
from resexpand.network.linear import Linear
from resexpand.network.resnet import Branch, ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel
from resexpand.theory.one_loop import one_loop
from support.deviations import sample_deviations, upper
from support.reduced_theory import reply, sums, unshared

Array = NDArray[np.float64]

LARGEST_PARAMETER = 0.15
"""Widths at which ``v/N`` is larger are left out: the expansion does not hold there."""

STRAIGHT_PARAMETER = 0.03
"""Largest ``v/N`` at which a mean is a straight line in ``1/N`` to the accuracy of the twin."""


@dataclass(frozen=True)
class Case:
    """A network and its inputs.

    Attributes
    ----------
    activation : str
        Registered name.
    inputs : int
        1, or 2 for a pair.
    depth : int
        Number of blocks.
    scale : float
        Residual scale.
    """

    activation: str
    inputs: int
    depth: int
    scale: float

    @property
    def name(self) -> str:
        """Short name, used as a key."""
        inputs = f"{self.inputs} input" + ("s" if self.inputs > 1 else "")
        return f"{self.activation}, {inputs}, L = {self.depth}, rho = {self.scale:.3g}"

    @property
    def net(self) -> ResNet:
        """The network: unit weight variance, weak biases."""
        branch = Branch(Activation(self.activation), Linear(1, 0.05))
        return ResNet(branch, scale=self.scale, depth=self.depth)

    @property
    def start(self) -> Array:
        """Kernel at layer 0."""
        pair = np.array([[0.8, 0.3], [0.3, 0.5]])
        return pair if self.inputs == 2 else pair[0, 0]

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers at which it is compared: in the middle and at the end."""
        return tuple(sorted({-(-self.depth // 2), self.depth}))

    def blocks(self, *, every_layer: bool = False) -> list[int]:
        """Return the indices of ``C`` at its layers, and behind the last."""
        layers = range(1, self.depth + 1) if every_layer else self.layers
        return [*(layer - 1 for layer in layers), self.depth]

    def seed(self, width: int, part: int) -> int:
        """Return the seed of a run, different for every case, width and part."""
        return zlib.crc32(f"{self.name}, N = {width}, part {part}".encode())


@dataclass(frozen=True, eq=False)
class Coefficient:
    """A sampled coefficient of ``1/N``, as far as a comparison asks for it.

    Attributes
    ----------
    name : str
        Key of the theory it is compared with.
    mean, stderr, variance : ndarray
        Of ``N`` times the deviation; variance of a single draw.
    n, width : int
        Networks drawn, and their width.
    stderr_uncertainty : ndarray
        Relative uncertainty of the standard error.
    seeds : tuple of int
        Ensembles it was drawn from.
    status : str
        Health of the sample.
    flags : tuple of str
        Health of the sample, in keywords.
    lean : ndarray or None
        Skewness of the mean.
    """

    name: str
    mean: Array
    stderr: Array
    variance: Array
    n: int
    width: int
    stderr_uncertainty: Array
    seeds: tuple[int, ...]
    status: str = "ok"
    flags: tuple[str, ...] = ()
    lean: Array | None = None

    @classmethod
    def of(
        cls, name: str, estimate: Estimate, centre: Array, place: Callable[[Array], Array]
    ) -> Coefficient:
        """Return ``N (estimate - centre)`` at some places."""
        width = estimate.width
        return cls(
            name,
            width * (place(estimate.mean) - centre),
            width * place(estimate.stderr),
            width**2 * place(estimate.variance),
            estimate.n,
            width,
            place(estimate.stderr_uncertainty),
            estimate.seeds,
            estimate.status,
            estimate.flags,
            place(estimate.lean),
        )


def sample_mean(
    case: Case,
    width: int,
    draws: int,
    *,
    target: float = 0.0,
    every_layer: bool = False,
    **options: Any,
) -> Coefficient:
    """Sample the mean of ``C`` at the layers of a case, and behind the last, with the twin.

    Parameters
    ----------
    case : Case
        The network.
    width, draws : int
        Neurons per layer, and the most networks that are drawn.
    target : float
        Largest standard error that is wanted; a first tenth of the draws decides how many it takes.
    every_layer : bool
        Whether all layers are kept, not only those of the case.
    **options
        Further keywords of `sample`.

    Returns
    -------
    Coefficient
        Of ``C_mean``, shape (layers + 1, p), ``p`` entries of the kernel.
    """
    indices = case.blocks(every_layer=every_layer)
    limit = upper(np.asarray(evaluate(kernel(case.net, case.inputs), K0=case.start)["C"])[None])[0]

    def drawn(count: int) -> Coefficient:
        run = sample(
            case.net,
            "layer_covariance",
            width,
            count,
            K0=case.start,
            control="infinite-width",
            seed=case.seed(width, 1),
            **options,
        )
        return Coefficient.of(
            "C_mean",
            run["layer_covariance"],
            limit[indices],
            lambda values: upper(np.asarray(values)[None])[0][indices],
        )

    if not target:
        return drawn(draws)
    first = drawn(draws // 10)
    needed = int(1.1 * first.variance.max() / target**2)
    return first if needed <= first.n else drawn(min(needed, draws))


def sample_covariances(case: Case, width: int, draws: int, **options: Any) -> Mapping[str, Sampled]:
    """Sample covariances of ``C``, ``K`` and ``G`` within and across the layers of a case."""
    run = sample_deviations(
        case.net,
        width,
        draws,
        K0=case.start,
        layers=case.layers,
        seed=case.seed(width, 2),
        **options,
    )
    return {name: run[name] for name in ("C_cov", "K_cov", "G_cov", "kurtosis")}


def usable_widths(widths: Sequence[int], parameter: float) -> tuple[int, ...]:
    """Return the widths at which the expansion holds."""
    return tuple(width for width in widths if parameter / width <= LARGEST_PARAMETER)


def straight_widths(widths: Sequence[int], parameter: float) -> tuple[int, ...]:
    """Return the three smallest widths at which a mean is straight in ``1/N``, else the largest."""
    straight = tuple(width for width in sorted(widths) if parameter / width <= STRAIGHT_PARAMETER)
    return straight[:3] if len(straight) > 2 else tuple(sorted(widths)[-3:])


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Statements of the theory about a case.

    Attributes
    ----------
    case : Case
        The case.
    values : dict
        Coefficients of ``1/N`` in the shapes of what is sampled: ``C_mean`` (layers + 1, p),
        ``C_cov``, ``K_cov`` and ``G_cov`` (layers p, layers p), ``kurtosis`` (D,).
    parameter : float
        ``v``: the expansion is one in ``v/N``.
    noise : ndarray
        ``N Cov(C, C)`` of all blocks, flat.
    unconditioned : ndarray
        ``C_mean`` without the conditioning term, all blocks.
    """

    case: Case
    values: dict[str, Array]
    parameter: float
    noise: Array
    unconditioned: Array

    @classmethod
    def of(cls, case: Case, *, every_layer: bool = False) -> Coefficients:
        """Evaluate the one-loop theory of a case."""
        found = evaluate(one_loop(case.net, inputs=case.inputs), K0=case.start)
        mean, unconditioned = (
            upper(np.asarray(found[name])[None])[0] for name in ("C_mean", "C_mean_tadpole")
        )
        size = mean.shape[-1]
        spreads = {name: _flat(found[name]) for name in ("C_cov", "K_cov", "G_cov")}
        blocks = places([layer - 1 for layer in case.layers], size)
        streams = places(case.layers, size)
        own = np.diagonal(spreads["C_cov"])[-size:]
        limit = upper(np.asarray(found["C"])[None])[0][-1]
        inputs = [a * case.inputs - a * (a - 1) // 2 for a in range(case.inputs)]
        return cls(
            case,
            {
                "C_mean": mean[case.blocks(every_layer=every_layer)],
                "C_cov": spreads["C_cov"][np.ix_(blocks, blocks)],
                "K_cov": spreads["K_cov"][np.ix_(streams, streams)],
                "G_cov": spreads["G_cov"][np.ix_(streams, streams)],
                "kurtosis": 3 * own[inputs] / limit[inputs] ** 2,
            },
            float(found["validity"].max()),
            spreads["C_cov"],
            unconditioned,
        )

    def noise_unshared(self) -> Array:
        """Return what `noise` would be if blocks shared none."""
        return unshared(
            self.noise, reply(self.case.net, self.case.start), self.unconditioned.shape[-1]
        )

    def reduced(self, *, every_layer: bool = False) -> dict[str, Array]:
        """Return the coefficients without conditioning term and without shared noise.

        ``G_cov`` is that of ``K``, and ``kurtosis`` that of the unshared noise.
        """
        case, size = self.case, self.unconditioned.shape[-1]
        alone = self.noise_unshared()
        summed = sums(np.full(case.depth, case.scale**2), size)
        kept = places([layer - 1 for layer in case.layers], size)
        inside = case.depth * size
        kernels = summed @ alone[:inside, :inside] @ summed.T
        return {
            "C_mean": self.unconditioned[case.blocks(every_layer=every_layer)],
            "C_cov": alone[np.ix_(kept, kept)],
            "K_cov": kernels[np.ix_(kept, kept)],
            "G_cov": self.values["K_cov"],
            "kurtosis": self.values["kurtosis"] / 2,
        }


def _flat(covariance: Array) -> Array:
    """Return covariances of all layers, and of all pairs of inputs, as one matrix."""
    if covariance.ndim == 2:
        return covariance
    count, inputs = covariance.shape[:2]
    first, second = np.triu_indices(inputs)
    entries = covariance[:, first, second][..., first, second]
    return np.asarray(entries.reshape(count * len(first), -1))


def places(blocks: Sequence[int], size: int) -> list[int]:
    """Return the flat indices of the entries of some blocks."""
    return [block * size + entry for block in blocks for entry in range(size)]


def compare_coefficients(
    theory: Mapping[str, Array],
    runs: Sequence[Mapping[str, Sampled]],
    right: Coefficients,
    *,
    resolve: float,
) -> Agreement:
    """Compare coefficients of ``1/N`` with samples at several widths, extrapolated.

    Parameters
    ----------
    theory : mapping of str to ndarray
        Coefficients by name.
    runs : sequence of mapping
        Sampled coefficients by name, one mapping per width.
    right : Coefficients
        Of the case: its parameter bounds the next order, its values say what is large.
    resolve : float
        Deviation that must be detectable, relative to the largest entry of a coefficient.
    """
    size = {
        name: np.full(np.shape(values), np.abs(right.values[name]).max())
        for name, values in theory.items()
    }
    neglected = {
        name: size[name] * right.parameter**2 * extrapolate([run[name] for run in runs]).curvature
        for name in theory
    }
    names = {name: name for name in theory}
    return compare(theory, runs, names=names, neglected=neglected, scale=size, resolve=resolve)


def exponent(runs: Sequence[Sampled], coefficient: float) -> Coefficient:
    """Measure with which power of the width a quantity approaches the theory.

    Parameters
    ----------
    runs : sequence of Sampled
        Sampled coefficients of ``1/N`` at two or more widths; the last entry is used.
    coefficient : float
        What the theory states for it.

    Returns
    -------
    Coefficient
        Shape (1,): the exponent of what is left, 2 if nothing of order ``1/N`` is.
    """
    log_width = np.log([run.width for run in runs])
    rest = np.array([np.ravel(run.mean)[-1] - coefficient for run in runs])
    error = np.array([np.ravel(run.stderr)[-1] for run in runs])
    weight = (rest / error) ** 2
    centred = log_width - np.average(log_width, weights=weight)
    spread = float(weight @ centred**2)
    slope = float((weight * centred) @ np.log(np.abs(rest))) / spread
    return _measured("order", 1 - slope, spread**-0.5, min(run.n for run in runs))


def scatter(scores: Sequence[float]) -> Coefficient:
    """Return the root mean square of independent z-scores, with its standard error."""
    rms = float(np.sqrt(np.mean(np.square(scores))))
    return _measured("rms_z", rms, 1 / np.sqrt(2 * len(scores)), 10**6)


def _measured(name: str, value: float, error: float, count: int) -> Coefficient:
    one = np.ones(1)
    return Coefficient(
        name, value * one, error * one, count * error**2 * one, count, 1, 0 * one, ()
    )
