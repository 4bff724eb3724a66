"""`SamplerSpec`: all that a sampler is made of, in one frozen description.

`sample` fills it in, a store says it as settings (`resexpand.montecarlo.runs.settings`), a worker
receives it with every task, and `resexpand.montecarlo.engine.make_sampler` builds the sampler.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from resexpand.montecarlo.concrete import ConcreteNet, concrete
from resexpand.montecarlo.observables.observable import Observable
from resexpand.montecarlo.observables.registry import select
from resexpand.montecarlo.weights.law import GAUSSIAN, WeightLaw
from resexpand.network.operation import Operation
from resexpand.network.resnet import Branch, ResNet


@dataclass(frozen=True)
class SamplerSpec:
    """Description of a sampler; equal descriptions draw equal networks.

    Attributes
    ----------
    kinds : tuple of Branch
        Branches of the kinds of blocks in the cycle.
    net : ConcreteNet
    kernel : tuple of tuple of float
        K^0, one row per input.
    observables : tuple of Observable
    width, seed : int
    method : str
    control : bool
        Whether the control network of infinite width is drawn beside every network.
    law : WeightLaw
    target : str
        Where they are drawn, ``"cpu"`` or ``"cuda"``. No part of what identifies a run: the
        networks are the same, to rounding, as on two processors with vectors of other lengths.
    head : tuple of Operation, optional
        Maps in front of the read-out, where they are not those that open the branch.
    post_norm : Operation, optional
        Map of the stream behind every block.
    """

    kinds: tuple[Branch, ...]
    net: ConcreteNet
    kernel: tuple[tuple[float, ...], ...]
    observables: tuple[Observable, ...]
    width: int
    method: str
    seed: int
    control: bool = False
    law: WeightLaw = GAUSSIAN
    target: str = "cpu"
    head: tuple[Operation, ...] | None = None
    post_norm: Operation | None = None

    @classmethod
    def of(
        cls,
        net: ResNet,
        observables: str | Iterable[str | Observable],
        kernel: ArrayLike,
        *,
        numbers: ConcreteNet | None = None,
        **drawn: Any,
    ) -> SamplerSpec:
        """Return the description of samples of a network.

        Parameters
        ----------
        net : ResNet
        observables : str, or iterable of str or Observable
        kernel : array_like, shape (D, D)
        numbers : ConcreteNet, optional
            Of a network whose hyperparameters are symbols.
        **drawn
            The other attributes: `width`, `method`, `seed` and so on.
        """
        rows = tuple(map(tuple, np.asarray(kernel, dtype=np.float64).tolist()))
        return cls(
            net.kinds,
            concrete(net, {}) if numbers is None else numbers,
            rows,
            select(observables, len(rows)),
            head=tuple(step.op for step in net.head) if net.has_own_head else None,
            post_norm=net.post_norm,
            **drawn,
        )
