"""Registry of observables of a sampled network.

To register one, write the function that reads it off a `Record` and add one line to `OBSERVABLES`,
or to the `FAMILIES` of `resexpand.montecarlo.observables.profiles` if it takes a parameter. A
family is asked for as text, ``"order_profile(4)"``, or as an object, ``order_profile(4)``. Any
`Observable` that a user writes can be sampled without being registered.

Notation: D inputs, `h^l_a` the state of input a, `s`, `t` weight and bias variance,
`phi` what the read-out acts on. All are averages over the N neurons of one network:

    kernel              G^l_ab = h^l_a . h^l_b / N,                               l = 0 ... L
    layer_covariance    C^l_ab = s A_a . A_b / N + t, A: what the last Linear of block l acts on,
                        or, for l = L+1, the read-out (the branch if there is none); l = 1 ... L+1
    output              y_a = w . phi(h^L_a) + b, one component of the read-out
    output_squared      y_a y_b
    output_variance     variance of y_a given the stream; for its cumulants see
                        `resexpand.montecarlo.statistics.cumulants.output_cumulants`
    chi                 dG^l / dK^0 for one input                                 l = 0 ... L
    response            eta^l = s_out d[phi(h^l) . phi(h^l) / N] / dK^0           l = 0 ... L
    covariance_response dG^l_12 / dK^0_12 for two inputs                          l = 0 ... L
    tangent             |v^l|^2 / |v^0|^2, v^0 a random direction, one input      l = 0 ... L

Distances, residual ratios and logarithms are in `resexpand.montecarlo.observables.growth`,
gradients and the tangent kernel in `resexpand.montecarlo.observables.gradients`, profiles over
orders of the residual scale and over path lengths in `resexpand.montecarlo.observables.profiles`.

Derivatives are taken along each network, at fixed weights and fixed normals `z` of `h^0 = z F^T`,
`F F^T = K^0`: `v^l = dh^l/dK^0` starts from `z dF^T/dK^0` and obeys the linearised network. Without
a read-out, `s_out = 1` and b = 0. Variances of the derivatives therefore depend on this choice of
`z`; their means do not.

Source: response functions, Fischer, Dahmen & Helias, arXiv:2305.07715.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet
from resexpand.montecarlo.groups.control import ControlNetwork
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.power_of_two import SITE as EXPONENTS
from resexpand.montecarlo.groups.power_of_two import PowerOfTwoRescaling, is_rescalable
from resexpand.montecarlo.groups.tangents import Tangents
from resexpand.montecarlo.observables.gradients import BACKWARD
from resexpand.montecarlo.observables.growth import GROWTH
from resexpand.montecarlo.observables.observable import (
    GRAMS,
    Floats,
    Observable,
    Record,
    unknown_site,
)
from resexpand.montecarlo.observables.profiles import FAMILIES
from resexpand.montecarlo.statistics.cumulants import VARIANCE_OF_OUTPUT
from resexpand.montecarlo.statistics.histogram import checked_histograms
from resexpand.network.resnet import Branch

__all__ = ["FAMILIES", "OBSERVABLES", "Observable", "Record", "needed_sites", "select"]

VARIANCE, COVARIANCE = ((Tangents((kind,)),) for kind in ("variance", "covariance"))
WITH_PARAMETER = re.compile(r"(\w+)\((\d{1,4})\)")


def _kernel(record: Record) -> Floats:
    return record.of_inputs(record.sites["states"])


def _layer_covariance(record: Record) -> Floats:
    features = record.of_inputs(record.sites["features"])
    laws = np.array(record.net.branch_laws)
    of_layer = laws[np.arange(features.shape[1]) % len(laws)].T
    weight, bias = of_layer.reshape(2, -1, *(1,) * (features.ndim - 2))
    covariance = np.asarray(weight * features + bias)
    if record.net.read_out is not None:
        weight, bias = record.net.read_out
        covariance[:, -1] = weight * record.of_inputs(record.sites["read_outs"])[:, -1] + bias
    return covariance


def _covariance_control(record: Record, change: Floats) -> Floats:
    return record.of_inputs(change)


def _kernel_control(record: Record, change: Floats) -> Floats:
    """Return G^l - K^0 - sum_{m <= l} rho_m^2 (C^m - dC^m)."""
    weight, bias = record.net.branch_law
    inputs = slice(record.inputs)
    covariance = weight * record.sites["features"][:, :, inputs, inputs] + bias - change
    squares = np.square(record.net.scales)[:, None, None]
    kernel = np.empty_like(covariance)
    kernel[:, 0] = record.start
    kernel[:, 1:] = record.start + np.cumsum(squares * covariance[:, :-1], axis=1)
    return _kernel(record) - record.of_inputs(kernel)


def _output(record: Record) -> Floats:
    y = record.sites["outputs"]
    return y[:, 0] if record.inputs == 1 else y


def _output_squared(record: Record) -> Floats:
    y = record.sites["outputs"]
    return y[:, 0] ** 2 if record.inputs == 1 else y[:, :, None] * y[:, None, :]


def _chi(record: Record) -> Floats:
    return 2 * record.sites["states"][:, :, 0, record.tangent("variance")]


def _response(record: Record) -> Floats:
    slope = 2 * record.sites["read_outs"][:, :, 0, record.tangent("variance")]
    return record.read_out_law[0] * slope


def _covariance_response(record: Record) -> Floats:
    return record.sites["states"][:, :, 0, record.tangent("covariance")]


OBSERVABLES: Mapping[str, Observable] = MappingProxyType(
    {
        observable.name: observable
        for observable in (
            Observable("kernel", _kernel, ("states",), control=_kernel_control),
            Observable(
                "layer_covariance",
                _layer_covariance,
                ("features",),
                control=_covariance_control,
            ),
            Observable("output", _output, ("outputs",)),
            Observable("output_squared", _output_squared, ("outputs",)),
            Observable("chi", _chi, ("states",), VARIANCE, 1),
            Observable("response", _response, ("read_outs",), VARIANCE, 1),
            Observable("covariance_response", _covariance_response, ("states",), COVARIANCE, 2),
            VARIANCE_OF_OUTPUT,
            *GROWTH,
            *BACKWARD,
        )
    }
)
"""Every observable without a parameter by name: the one place to add another."""


def needed_sites(observables: Sequence[Observable], net: ConcreteNet) -> set[str]:
    """Return the sites to record; the features behind the last block may be the read-out's."""
    sites = {site for observable in observables for site in observable.sites}
    return sites | {"read_outs"} if "features" in sites and net.read_out is not None else sites


def needed_columns(
    observables: Sequence[Observable],
    inputs: int,
    control_of: Branch | None = None,
    rescaled: Sequence[Branch] = (),
) -> Layout:
    """Return the columns that some observables of D inputs need.

    With the control network of a branch, and rescaled by powers of two where an observable reads
    the exponents and all of the branches allow it.
    """
    groups = [group for observable in observables for group in observable.groups]
    if control_of is not None:
        groups.append(ControlNetwork(inputs, len(control_of.linears)))
    asked = any(EXPONENTS in observable.sites for observable in observables)
    fixed = any(group.keeps_units for group in groups)
    if asked and not fixed and rescaled and all(map(is_rescalable, rescaled)):
        groups.append(PowerOfTwoRescaling())
    return Layout.of(inputs, groups)


def check_sites(observables: Iterable[Observable], layout: Layout) -> None:
    """Refuse observables that read sites which the sampler does not leave.

    Raises
    ------
    HyperparameterError
        If a site does not exist; the message says which do.
    """
    existing = (*GRAMS, "outputs", *layout.sites)
    for observable in observables:
        if isinstance(observable.sites, str):
            raise HyperparameterError(
                f"the sites {observable.sites!r} of the observable {observable.label}",
                "they are a text, whose letters would be the sites",
                f"write ({observable.sites!r},)",
            )
        for site in observable.sites:
            if site not in (*existing, EXPONENTS):
                raise unknown_site(site, existing, f" of the observable {observable.label}")


def controlled(name: str) -> str:
    """Return the name of the rows of an observable from which a control is subtracted."""
    return f"{name}, controlled"


def counted(name: str) -> str:
    """Return the name of the counts of an observable between fixed edges."""
    return f"{name}, counts"


def with_histograms(observables: Iterable[Observable], wanted: object) -> tuple[Observable, ...]:
    """Return the observables with the edges between which their draws are counted.

    Raises
    ------
    HyperparameterError
        If `wanted` is neither None nor a mapping from their names to increasing finite edges.
    """
    listed = tuple(observables)
    edges = checked_histograms(wanted, [o.name for o in listed])
    return tuple(
        replace(o, edges=tuple(edges[o.name].tolist())) if o.name in edges else o for o in listed
    )


def select(
    wanted: Iterable[str | Observable] | str | Observable, inputs: int
) -> tuple[Observable, ...]:
    """Return the observables asked for by name or as objects, in that order, each once.

    Raises
    ------
    HyperparameterError
        If a name is unknown, none is given, or one name is asked for with two parameters.
    UnsupportedError
        If an observable is not defined for this number of inputs.
    """
    listed: list[object] = [wanted]
    if isinstance(wanted, Iterable) and not isinstance(wanted, str):
        listed = list(wanted)
    chosen = tuple(dict.fromkeys(_observable(item) for item in listed))
    if not chosen:
        raise HyperparameterError(
            "no observable", "there is nothing to sample", f"choose from {_known()}"
        )
    by_name: dict[str, Observable] = {}
    for observable in chosen:
        other = by_name.setdefault(observable.name, observable)
        if other is not observable:
            raise HyperparameterError(
                f"{other.label} beside {observable.label}",
                f"both would be found under {observable.name!r}",
                "ask for the larger one, or sample twice",
            )
        if observable.inputs not in (None, inputs):
            raise UnsupportedError(
                f"{observable.label} of {inputs} input{'s' if inputs > 1 else ''}",
                f"it is defined for {observable.inputs}",
                f"pass K0 for {observable.inputs}",
            )
    return chosen


def _observable(item: object) -> Observable:
    """Return an observable by its name, with its parameter if it takes one."""
    if isinstance(item, Observable):
        return item
    if isinstance(item, str) and item in OBSERVABLES:
        return OBSERVABLES[item]
    if isinstance(item, str) and item in FAMILIES:
        raise HyperparameterError(
            f"observable {item!r}", "it takes a parameter", f'write it as "{item}(4)"'
        )
    found = WITH_PARAMETER.fullmatch(item.strip()) if isinstance(item, str) else None
    if found is None or found[1] not in FAMILIES:
        raise HyperparameterError(
            f"observable {item!r}",
            "nothing of this name can be sampled",
            f"choose from {_known()}",
        )
    return FAMILIES[found[1]](int(found[2]))


def _known() -> str:
    return ", ".join([*OBSERVABLES, *(f"{name}(k)" for name in FAMILIES)])
