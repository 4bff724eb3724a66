"""Settings of `validate`: a network, a grid of scales and depths, the sampling effort."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.conventions import DEPTH, RHO, exact
from resexpand.errors import HyperparameterError, StoreError
from resexpand.network.activation import Activation
from resexpand.network.inputs import kernel_from_inputs, validated_kernel
from resexpand.network.linear import Linear
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch, ResNet
from resexpand.workflows.measured import Measured, columns_of, measured_of


@dataclass(frozen=True, eq=False)
class Settings:
    """Settings of a validation run; the defaults are the network of Fischer, Dahmen & Helias.

    Attributes
    ----------
    activation : Activation
        Activation of the branch ``W phi(h) + b``.
    weight_variance, bias_variance : number
        Variances of the branch.
    branch : Branch, optional
        Another branch instead, of any operations.
    positions : tuple of int, optional
        Shape of an input whose positions the branch couples.
    K0 : float or array_like
        Kernel at layer 0 of the input, or of several: of the batch or of all positions where the
        branch couples them. The kernel of several is validated as well.
    inputs : ndarray, optional
        Data of shape (D, d_in) instead of `K0`: the response is taken at the first row, and the
        kernel of all rows is validated as well.
    read_in_variance : number
        Weight variance of the read-in of `inputs`.
    read_out_variance : number, optional
        Weight variance of a linear read-out, which multiplies the response; 1 without one.
    post_norm : Map, optional
        Normalisation of the stream behind every block. As behind norms in the branch, the response
        that is compared is then that to a displacement in a random direction, as the length of an
        input is forgotten, and no optimal scale is derived.
    depths : tuple of int
        Depths at which the output response is compared.
    scales : tuple of float
        Residual scales that are sampled.
    widths : tuple of int
        Widths that are sampled in function space and extrapolated to infinite width.
    draws : int
        Networks at the smallest width; at width N as many fewer as N is larger.
    dense_width, dense_draws : int
        Width and number of the networks whose every weight is drawn, per scale.
    seed : int
        Seed of the whole run, below 2^32.
    store : Path, optional
        Folder that keeps the finished parts of the samples; the same run resumes from it.
    workers : int, optional
        Threads; the result does not depend on it.
    resolve : float
        Deviation, relative to the largest response, that the comparison must be able to detect.
    """

    activation: Activation = field(default_factory=lambda: Activation("erf_unit"))
    weight_variance: Any = 1
    bias_variance: Any = 0
    branch: Branch | None = None
    positions: tuple[int, ...] | None = None
    K0: Any = 0.1
    inputs: NDArray[np.float64] | None = None
    read_in_variance: Any = 1
    read_out_variance: Any = None
    post_norm: Map | None = None
    depths: tuple[int, ...] = (5, 10, 20)
    scales: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
    widths: tuple[int, ...] = (256, 512, 1024)
    draws: int = 30_000
    dense_width: int = 64
    dense_draws: int = 12_000
    seed: int = 1
    store: Path | None = None
    workers: int | None = None
    resolve: float = 0.05

    def __post_init__(self) -> None:
        for name in ("depths", "scales", "widths"):
            if not getattr(self, name):
                raise HyperparameterError(f"no {name}", "there is nothing to compare", "give some")
        if min(self.depths) < 1 or min(self.widths) < 8 or min(self.scales) <= 0:
            raise HyperparameterError(
                f"depths {self.depths}, widths {self.widths}, scales {self.scales}",
                "depths start at 1, widths at 8, scales above 0",
                "change those below",
            )
        if len(self.scales) > 64 or max(self.widths) >= 2**17:
            raise HyperparameterError(
                f"{len(self.scales)} scales, width {max(self.widths)}",
                "a run takes at most 64 scales and widths below 131072",
                "split it",
            )
        if not 0 <= self.seed < 2**32:
            raise HyperparameterError(
                f"seed {self.seed}", "it must leave room for one seed per width", "use 0 to 2^32"
            )
        if self.draws < 32 or self.dense_draws < 32:
            raise HyperparameterError(
                f"{min(self.draws, self.dense_draws)} draws", "errors need more", "give 32 or more"
            )

    @property
    def depth(self) -> int:
        """The deepest network, which is the one that is sampled."""
        return max(self.depths)

    def network(self, scale: object = RHO, depth: object = DEPTH) -> ResNet:
        """Return the network of these settings, by default with symbolic scale and depth."""
        read_in = None if self.inputs is None else Linear(self.read_in_variance, 0)
        branch = self.branch or Branch(
            self.activation, Linear(self.weight_variance, self.bias_variance)
        )
        variance = self.read_out_variance
        read_out = None if variance is None else branch.followed_by(Linear(variance, 0))
        ends: dict[str, Any] = {"read_in": read_in, "read_out": read_out}
        ends |= {"post_norm": self.post_norm, "positions": self.positions}
        return ResNet(branch, scale=scale, depth=depth, **ends)

    @cached_property
    def measured(self) -> Measured:
        """The quantity that is compared."""
        return measured_of(self.network())

    @property
    def columns(self) -> Any:
        """What the kernel of several inputs is asked for."""
        together = columns_of(self.network())
        return 2 if together == 1 else together

    @property
    def described(self) -> str:
        """The branch in the lines below the title of a figure."""
        if self.branch is not None:
            given = ((op.text, ", ".join(f"{v}" for v in op.values)) for op in self.branch.ops)
            return fill("; ".join(f"{name}({v})" if v else name for name, v in given), 70) + "\n"
        weight, bias = self.weight_variance, self.bias_variance
        return rf"{self.activation.name}, $\sigma_w^2 = {weight}$, $\sigma_b^2 = {bias}$, "

    def symbolic_network(self) -> ResNet:
        """Return the same network with symbolic variances, for formulas."""
        branch = self.branch or Branch(self.activation, Linear())
        ends: Any = {"post_norm": self.post_norm, "positions": self.positions}
        return ResNet(branch, scale=RHO, depth=DEPTH, **ends)

    def input_kernel(self) -> NDArray[np.float64]:
        """Return the kernel of all inputs at layer 0, shape (D, D)."""
        if self.inputs is None:
            return validated_kernel(np.atleast_2d(self.K0), matrix=True)[0]
        read_in = (float(exact(self.read_in_variance)), 0.0)
        return kernel_from_inputs(self.inputs, read_in, self.positions or ())

    @property
    def start(self) -> Any:
        """Kernel at layer 0: of the first input, or of all columns where they are coupled."""
        whole = self.input_kernel()
        return float(whole[0, 0]) if columns_of(self.network()) == 1 else whole

    def draws_at(self, width: int) -> int:
        """Return the number of networks at a width: the same work at every width."""
        return max(32, round(self.draws * min(self.widths) / width))

    def seed_at(self, width: int, scale: float, *, part: int = 0) -> int:
        """Return a seed of its own for every width, scale and part: errors are independent."""
        return ((self.seed * 64 + self.scales.index(scale)) * 8 + part) * 2**17 + width

    def store_at(self, part: str) -> Path | None:
        """Return the file that keeps one part of the samples, or None."""
        if self.store is None:
            return None
        try:
            self.store.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"keeping samples in {self.store}", str(error), "choose another folder"
            ) from error
        return self.store / f"{part}.sqlite"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for the record."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "activation": self.activation.name if self.branch is None else None,
            "branch": self.branch and [repr(op) for op in self.branch.ops],
            "store": None,
            "post_norm": None if self.post_norm is None else repr(self.post_norm),
        }
