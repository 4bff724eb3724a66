"""Coordinate check over depth: by how much features change per step of training.

If a residual scale goes with depth, the change of a feature of the last block after a few steps is
the same at all depths; if it is too large the change grows with depth, if it is too small it
vanishes. For the width the picture is well known; here it is drawn over the depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError
from resexpand.expressions.shown import Card, Tabled, listed, numbers
from resexpand.models.batches import batches_of
from resexpand.models.blocks import none_found
from resexpand.models.library import torch_for
from resexpand.models.state import looked_at, run, unwrapped
from resexpand.models.watching import Place, Sum, watching
from resexpand.network.numbers import whole_number

ASKED = "a coordinate check"
STEADY = 0.25
"""Largest exponent of the depth, with either sign, at which the change counts as the same."""

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class CoordinateCheck(Tabled):
    """Change of features over steps of training, at several depths.

    Attributes
    ----------
    depths : tuple of int
        Arguments of the factory.
    change : ndarray, shape (depths, steps + 1, seeds)
        Root mean square, over the entries of the stream behind the last block, of its difference
        from the stream before training.
    size : ndarray, shape (depths, seeds)
        Root mean square of the stream before training.
    """

    depths: tuple[int, ...]
    change: Array
    size: Array

    @property
    def mean(self) -> Array:
        """Mean of the change over seeds, shape (depths, steps + 1)."""
        return np.asarray(self.change.mean(axis=-1))

    @property
    def stderr(self) -> Array:
        """Standard error of it; NaN for one seed."""
        seeds = self.change.shape[-1]
        if seeds == 1:
            return np.full(self.change.shape[:-1], np.nan)
        return np.asarray(self.change.std(axis=-1, ddof=1) / math.sqrt(seeds))

    @property
    def exponents(self) -> Array:
        """Slope of ln(change) by ln(depth) after the last step, of every seed."""
        x = np.log(np.asarray(self.depths, dtype=float))
        x = x - x.mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(x @ np.log(self.change[:, -1]) / (x @ x))

    @property
    def verdict(self) -> str:
        """``"steady"``, ``"grows"``, ``"vanishes"``, ``"diverged"`` or ``"inconclusive"``.

        Grows or vanishes if the exponent is beyond 1/4 by two standard errors; steady if it is
        within by as much.
        """
        slopes = self.exponents
        if not np.isfinite(self.change).all():
            return "diverged"
        if not np.isfinite(slopes).all():
            return "inconclusive"
        mean = float(slopes.mean())
        if len(slopes) < 2:
            return "inconclusive"
        error = 2 * float(slopes.std(ddof=1)) / math.sqrt(len(slopes))
        if abs(mean) + error <= STEADY:
            return "steady"
        if abs(mean) - error > STEADY:
            return "grows" if mean > 0 else "vanishes"
        return "inconclusive"

    def card(self) -> Card:
        """Return what it says about itself."""
        return Card(
            f"CoordinateCheck: {self.verdict}",
            (
                ("depths", listed(self.depths)),
                ("exponent", f"{self.exponents.mean():.3g} of the depth, mean over seeds"),
                *(
                    (f"change, depth {d}", numbers(m))
                    for d, m in zip(self.depths, self.mean, strict=True)
                ),
            ),
        )

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the change against the depth, a line per step.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from resexpand.export.figures import panels
        from resexpand.export.figures.style import colour, house_style

        with house_style():
            axes = ax or panels.canvas((4.3, 3.0)).subplots()
            steps = range(1, self.change.shape[1])
            for k, step in enumerate(steps):
                axes.errorbar(
                    self.depths, self.mean[:, step], np.nan_to_num(self.stderr[:, step]),
                    color=colour(k), marker="o", ms=3.5, lw=1.2, label=f"step {step}",
                )  # fmt: skip
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(self.depths, [str(depth) for depth in self.depths])
            axes.minorticks_off()
            axes.set(xlabel="depth", ylabel="change of a feature (rms)")
            axes.legend(fontsize=7)
        return axes.figure


def coordinate_check(
    factory: Callable[[int], Any],
    depths: Iterable[int],
    batch: Any,
    *,
    targets: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    optimizer: Callable[[Any], Any] | None = None,
    steps: int = 4,
    seeds: int = 3,
) -> CoordinateCheck:
    """Train models of several depths for a few steps, and measure how far features move.

    Parameters
    ----------
    factory : callable
        From a depth to a model, with its scales (`set_scales`) and freshly drawn weights; PyTorch
        is seeded before every call.
    depths : iterable of int
        Two or more.
    batch : tensor, tuple or dict
        Arguments of one call of the model; the same at every step.
    targets : tensor, optional
        For the loss: classes, if it is cross entropy.
    loss : callable, optional
        From the output of the model and `targets` to a number; by default cross entropy, or
        without targets half the mean square of the output.
    optimizer : callable, optional
        From parameters to an optimiser; by default ``SGD(lr=0.1)``.
    steps, seeds : int
        How many.

    Returns
    -------
    CoordinateCheck
        With a verdict and ``plot()``.

    Raises
    ------
    UnsupportedError
        If PyTorch is not installed, or a model has no residual block.
    HyperparameterError
        If there are fewer than two depths, or no step.

    References
    ----------
    Yang et al. (2024), for depth.
    """
    torch = torch_for(ASKED)
    _require_factory(factory, depths)
    listed_depths = tuple(dict.fromkeys(whole_number(d, "depth", least=1) for d in depths))
    if len(listed_depths) < 2:
        raise HyperparameterError(
            f"{ASKED} over {len(listed_depths)} depths",
            "a change is compared between depths",
            "give two or more",
        )
    steps = whole_number(steps, "steps", least=1)
    seeds = whole_number(seeds, "seeds", least=1)
    change = np.empty((len(listed_depths), steps + 1, seeds))
    size = np.empty((len(listed_depths), seeds))
    judge = loss or (_cross_entropy(torch) if targets is not None else _half_square)
    make = optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    model = None
    for k, depth in enumerate(listed_depths):
        for seed in range(seeds):
            with torch.random.fork_rng([]):
                torch.manual_seed(seed)
                made, _ = unwrapped(torch, factory(depth), ASKED)
                if made is model:
                    raise HyperparameterError(
                        f"{ASKED} at depth {depth}",
                        "the factory returned the model that was trained before",
                        "let it make a new one at every call",
                    )
                model = made
                streams = _trained(torch, model, batch, targets, judge, make, steps)
            size[k, seed] = _rms(streams[0])
            change[k, :, seed] = [_rms(stream - streams[0]) for stream in streams]
    return CoordinateCheck(listed_depths, change, size)


def _require_factory(factory: Any, depths: Any) -> None:
    """Raise unless there is something that makes models, and depths to make them of."""
    if not callable(factory) or hasattr(factory, "named_parameters"):
        raise HyperparameterError(
            f"{ASKED} of {type(factory).__name__}",
            "one model, or none, has no other depths",
            "give a function from a depth to a freshly drawn model, such as lambda depth: ...",
        )
    if isinstance(depths, str) or not hasattr(depths, "__iter__"):
        raise HyperparameterError(
            f"{ASKED} over depths={depths!r}",
            "a change is compared between depths",
            "give two or more, such as [4, 8, 16]",
        )


def _trained(
    torch: Any, model: Any, batch: Any, targets: Any, judge: Any, make: Any, steps: int
) -> list[Array]:
    """Return the last stream before training and after every step."""
    mover = make(p for p in model.parameters() if p.requires_grad)
    streams = [_stream(torch, model, batch)]
    for _ in range(steps):
        mover.zero_grad()
        judge(run(torch, model, next(batches_of(torch, batch, model))), targets).backward()
        mover.step()
        streams.append(_stream(torch, model, batch))
    return streams


def _stream(torch: Any, model: Any, batch: Any) -> Array:
    """Return the stream behind the last block."""
    last: list[Any] = [None]

    def measured(place: Place, sum_: Sum) -> Any:
        def keep(result: Any) -> None:
            last[0] = result.detach().double().cpu().numpy().copy()

        return keep

    with looked_at(torch, model, 0), watching(torch, model, measured) as counts:
        run(torch, model, next(batches_of(torch, batch, model)))
    if last[0] is None:
        raise none_found(model, counts)
    return np.asarray(last[0])


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array))))


def _logits(output: Any) -> Any:
    """Return the tensor of an output: itself, the first of a tuple, or ``logits``."""
    if hasattr(output, "logits"):
        return output.logits
    if isinstance(output, dict):
        return output.get("logits", next(iter(output.values())))
    return output[0] if isinstance(output, tuple) else output


def _half_square(output: Any, targets: Any) -> Any:
    return (_logits(output) ** 2).mean() / 2


def _cross_entropy(torch: Any) -> Callable[[Any, Any], Any]:
    def loss(output: Any, targets: Any) -> Any:
        logits = _logits(output)
        return torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), torch.as_tensor(targets).reshape(-1)
        )

    return loss
