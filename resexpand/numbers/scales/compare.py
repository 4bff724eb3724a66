"""`compare_scales`: which residual scale, at which depth, with what effect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from resexpand.conventions import DEPTH, RHO
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.network.numbers import whole_number
from resexpand.network.requirements import require_one_of
from resexpand.network.resnet import ResNet
from resexpand.numbers.scales.candidate import Choice, Setting, forgets_variance
from resexpand.numbers.scales.comparison import ScaleComparison
from resexpand.numbers.scales.measures import Measures
from resexpand.numbers.scales.registry import CANDIDATES
from resexpand.progress import Progress, percent, reporting
from resexpand.theory.response import ResponseKind

RESERVED = (RHO.name, DEPTH.name, "depth")


def compare_scales(
    net: ResNet,
    depth: int | Iterable[int] | None = None,
    *,
    candidates: Iterable[str] | None = None,
    kind: ResponseKind | None = None,
    order: int = 3,
    share: float = 0.01,
    base_depth: int | None = None,
    K0: Any = 1.0,
    progress: Progress = None,
    **hyperparameters: Any,
) -> ScaleComparison:
    """Compare rules for the residual scale, and what each does to a network at initialisation.

    Parameters
    ----------
    net : ResNet
        The network; its own scale is one of the candidates if it is a number.
    depth : int or iterable of int, optional
        Numbers of blocks; that of the network by default.
    candidates : iterable of str, optional
        Keys of the candidates; all by default, see ``resexpand.numbers.scales.registry``.
    kind : {"variance", "covariance", "tangent"}, optional
        Response of the table and of the response optimum; by default of the variance, and of a
        tangent where a normalisation forgets the variance.
    order : int
        First order of the path sum that counts as high, at least 1.
    share : float
        Part of the state that high orders may carry, between 0 and 1, for the candidate
        ``path_orders``.
    base_depth : int, optional
        Depth at which training was tuned at scale 1, for depth-muP and CompleteP; the smallest
        of the depths by default.
    K0 : float or array_like
        Kernel at layer 0; a matrix for networks with `BatchNorm` or positions.
    progress : callable or bool, optional
        As for `sample`, counting candidates and depths.
    **hyperparameters
        Symbols of the network by name.

    Returns
    -------
    ScaleComparison
        A table with a recommendation; all numbers are computed for this network, at infinite
        width. A candidate that does not apply has its reason there.

    Raises
    ------
    DescriptionError
        If `net` is no description.
    HyperparameterError
        If a depth, an order, a share or a candidate does not exist, or a symbol has no value.
    UnsupportedError
        If the network has no skip connections, or none of the candidates applies.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, compare_scales
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=12)
    >>> found = compare_scales(net, [12, 48], candidates=["as_described", "inverse_root"])
    >>> found["growth"].round(3)
    array([[4.09600000e+03, 2.81474977e+14],
           [2.61300000e+00, 2.69000000e+00]])
    >>> found.recommendation  # doctest: +ELLIPSIS
    '1/sqrt(L) (scale 0.1443 at depth 48), because it is the only one ...'
    """
    _check(net, kind, share)
    depths = _depths(net, depth)
    kind = kind or ("tangent" if forgets_variance(net) else "variance")
    base = min(depths) if base_depth is None else whole_number(base_depth, "base_depth", least=1)
    order = whole_number(order, "order", least=1)
    values = {"K0": K0, **{k: v for k, v in hyperparameters.items() if k not in RESERVED}}
    chosen = [CANDIDATES[name] for name in _names(candidates)]
    measures, arrays = Measures(), _empty(len(chosen), len(depths), order)
    reasons: dict[str, str] = {}
    remarks: dict[str, str] = {}
    missing: dict[str, None] = {}
    identities: dict[str, None] = {}
    steps = [(j, k) for j in range(len(depths)) for k in range(len(chosen))]
    with reporting(progress, percent) as report:
        for done, (j, k) in enumerate(steps):
            report(done, len(steps))
            blocks, rule = depths[j], chosen[k]
            setting = Setting(net, blocks, base, kind, order, float(share), values)
            try:
                choice: Choice = rule.choose(setting)
            except UnsupportedError as error:
                reasons[rule.name] = error.why or error.asked
                continue
            if not np.isfinite(np.asarray(choice.scale, dtype=float)).all():
                reasons[rule.name] = f"its scale at depth {blocks} and this K0 is no finite number"
                continue
            measured, absent = measures.of(setting, choice)
            for name, number in {"scale": choice.value, **measured}.items():
                arrays[name][k, j] = number
            missing |= dict.fromkeys(absent)
            if not np.any(choice.scale):
                identities[rule.name] = None
            if choice.remark:
                remarks[rule.name] = choice.remark
        report(len(steps), len(steps))
    if np.isnan(arrays["scale"]).all():
        raise UnsupportedError(
            "a comparison of scales",
            "; ".join(f"{name}: {why}" for name, why in reasons.items()),
            "name other candidates, or describe the network without what they refuse",
        )
    return ScaleComparison(
        arrays,
        tuple(rule.name for rule in chosen),
        tuple(rule.title for rule in chosen),
        tuple(rule.assumption for rule in chosen),
        tuple(rule.citation for rule in chosen),
        depths,
        kind,
        order,
        repr(net),
        reasons,
        remarks,
        tuple(missing),
        tuple(identities),
    )


def _check(net: object, kind: object, share: object) -> None:
    if not isinstance(net, ResNet):
        raise DescriptionError(
            f"a comparison of scales for {type(net).__name__}",
            "it is no description of a residual network",
            "give ResNet(...), or of a PyTorch model from_torch(model, batch).net",
        )
    if net.skip == 0:
        raise UnsupportedError(
            "a comparison of residual scales",
            "the network has no skip connections (skip=0)",
            "describe it with skip=1",
        )
    if kind is not None:
        require_one_of(kind, ResponseKind, "the response")
    if not isinstance(share, float | int) or not 0 < share < 1:
        raise HyperparameterError(
            f"a share of {share!r}", "it is a part of the state", "give a number between 0 and 1"
        )


def _depths(net: ResNet, depth: int | Iterable[int] | None) -> tuple[int, ...]:
    if depth is None:
        if net.depth.free_symbols:
            raise HyperparameterError(
                "a comparison of scales",
                f"the depth is the symbol {net.depth}",
                "give depth=[12, 48, 96]",
            )
        depth = int(net.depth)
    listed = depth if isinstance(depth, Iterable) else [depth]
    counts = tuple(dict.fromkeys(whole_number(each, "depth", least=1) for each in listed))
    if not counts:
        raise HyperparameterError("a comparison of scales", "no depth is given", "give depth=12")
    return tuple(sorted(counts))


def _names(candidates: Iterable[str] | None) -> tuple[str, ...]:
    if candidates is None:
        return tuple(CANDIDATES)
    names = (candidates,) if isinstance(candidates, str) else tuple(candidates)
    for name in names:
        if name not in CANDIDATES:
            raise HyperparameterError(
                f"the candidate {name!r}", "it is unknown", f"use {', '.join(CANDIDATES)}"
            )
    if not names:
        raise HyperparameterError(
            "a comparison of no candidates", "there is nothing to compare", "leave it out for all"
        )
    return tuple(dict.fromkeys(names))


def _empty(rules: int, depths: int, order: int) -> dict[str, Any]:
    names = ("scale", "growth", "response", "gradient_ratio")
    orders = (f"order_{k}" for k in range(order))
    return {name: np.full((rules, depths), np.nan) for name in (*names, *orders, "tail")}
