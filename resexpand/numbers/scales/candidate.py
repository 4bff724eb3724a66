"""A candidate for the residual scale: how it is chosen, what it assumes, and where it stands.

A candidate is one file that calls `candidate`. Its function takes a `Setting` and returns a
`Choice`, or raises `UnsupportedError`, whose reason then stands in the table instead of a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from resexpand.conventions import DEPTH, RHO
from resexpand.errors import ResexpandError, UnsupportedError
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation


@dataclass(frozen=True)
class Setting:
    """What a candidate may ask.

    Attributes
    ----------
    given : ResNet
        The network as it was described.
    depth : int
        Number of blocks.
    base_depth : int
        Depth at which scale 1 is known to work, for rules that transfer from there.
    kind : str
        Response that counts: ``"variance"``, ``"covariance"`` or ``"tangent"``.
    order : int
        First order of the path sum that counts as high.
    share : float
        Part of the state that high orders may carry.
    values : mapping
        ``K0`` and the hyperparameters.
    """

    given: ResNet
    depth: int
    base_depth: int
    kind: Any
    order: int
    share: float
    values: Mapping[str, Any]

    @property
    def net(self) -> ResNet:
        """The network with the residual scale as a symbol, and the depth where it may be one."""
        try:
            return self.given.with_scale(RHO, DEPTH)
        except ResexpandError:  # parameters with a value per block
            return self.given.with_scale(RHO, self.depth)

    def keywords(self, net: ResNet, scale: float | None = None) -> dict[str, Any]:
        """Return the keywords of `evaluate` for a network, at a scale if it is a symbol there."""
        keywords = dict(self.values)
        if net.depth.free_symbols:
            keywords["depth"] = self.depth
        if scale is not None:
            keywords[RHO.name] = scale
        return keywords

    @property
    def normalises(self) -> bool:
        """Whether a branch of the network holds a normalisation."""
        return _normalises(self.given)

    def require_no_norm(self, name: str) -> None:
        """Raise the common error of candidates that stand in for a normalisation.

        Raises
        ------
        UnsupportedError
            If a branch has a normalisation, or the stream.
        """
        if forgets_variance(self.given):
            raise UnsupportedError(
                f"{name} of a network with a normalisation",
                "it stands in for a normalisation, and this network has one",
                "leave the normalisation out of the description",
            )


def _normalises(net: ResNet) -> bool:
    return any(step.normalises for branch in net.kinds for step in branch.steps)


def forgets_variance(net: ResNet) -> bool:
    """Whether a network normalises somewhere, in its branches or behind its blocks."""
    return net.post_norm is not None or _normalises(net)


@dataclass(frozen=True)
class Choice:
    """What a candidate chooses at one depth.

    Attributes
    ----------
    value : float
        The number that its authors call the scale.
    scale : float or tuple of float
        Residual scale at initialisation, of all blocks or of each.
    net : ResNet or None
        The network it asks for, with a symbol for the scale; None if it changes nothing else.
    remark : str
        What the value does not say.
    """

    value: float
    scale: float | tuple[float, ...]
    net: ResNet | None = None
    remark: str = ""

    def described(self, setting: Setting) -> tuple[ResNet, float | None]:
        """Return the network, and the scale to put in for its symbol, if it has one."""
        net = setting.net if self.net is None else self.net
        if isinstance(self.scale, tuple):
            return net.with_scale([sp.Float(s) for s in self.scale], setting.depth), None
        return net, self.scale


@dataclass(frozen=True)
class Candidate:
    """A rule for the residual scale.

    Attributes
    ----------
    name : str
        Key.
    title : str
        As it stands in a table.
    assumption : str
        What the rule rests on, in one sentence.
    citation : Citation or None
        Where it stands.
    choose : callable
        From a `Setting` to a `Choice`.
    """

    name: str
    title: str
    assumption: str
    citation: Citation | None
    choose: Callable[[Setting], Choice]


CANDIDATES: dict[str, Candidate] = {}
"""Every candidate by name, in the order of the table."""


def candidate(
    name: str, title: str, assumption: str, reference: str = "", locator: str = ""
) -> Callable[[Callable[[Setting], Choice]], Callable[[Setting], Choice]]:
    """Register the function behind it as a candidate.

    Parameters
    ----------
    name, title, assumption : str
        As `Candidate`.
    reference, locator : str
        Key in ``references.toml``, and the place in that paper.
    """
    citation = REFERENCES[reference].at(locator) if reference else None

    def add(choose: Callable[[Setting], Choice]) -> Callable[[Setting], Choice]:
        CANDIDATES[name] = Candidate(name, title, assumption, citation, choose)
        return choose

    return add
