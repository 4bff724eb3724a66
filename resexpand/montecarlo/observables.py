"""What can be read off a sampled network: the registry of observables.

A sampler leaves Gram matrices of its columns behind, by site and layer, and the outputs
(`resexpand.montecarlo.sampler_source`). An `Observable` names the sites it reads, the tangent it
needs, and the function that turns these into one row per draw. To add one, write such a function
and add one line to `OBSERVABLES`.

Notation: D inputs, `h^l_a` the state of input a, `s`, `t` weight and bias variance,
`phi` what the read-out acts on. All are averages over the N neurons of one network:

    kernel              G^l_ab = h^l_a . h^l_b / N,                               l = 0 ... L
    layer_covariance    C^l_ab = s A_a . A_b / N + t, A: what the last Linear of block l acts on,
                        or, for l = L+1, the read-out (the branch if there is none); l = 1 ... L+1
    output              y_a = w . phi(h^L_a) + b, one component of the read-out
    output_squared      y_a y_b
    chi                 dG^l / dK^0 for one input                                 l = 0 ... L
    response            eta^l = s_out d[phi(h^l) . phi(h^l) / N] / dK^0           l = 0 ... L
    covariance_response dG^l_12 / dK^0_12 for two inputs                          l = 0 ... L
    tangent             |v^l|^2 / |v^0|^2, v^0 a random direction, one input      l = 0 ... L

Derivatives are taken along each network, at fixed weights and fixed normals `z` of `h^0 = z F^T`,
`F F^T = K^0`: `v^l = dh^l/dK^0` starts from `z dF^T/dK^0` and obeys the linearised network. Without
a read-out, `s_out = 1` and b = 0. Variances of the derivatives therefore depend on this choice of
`z`; their means do not.

Source: response functions, Fischer, Dahmen & Helias, arXiv:2305.07715.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet, Law
from resexpand.montecarlo.input_kernel import triangular_root

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Record:
    """What a chunk of n networks left behind.

    Attributes
    ----------
    net : ConcreteNet
    inputs : int
        Number D of inputs; the first D of the C columns.
    tangents : mapping
        Tangent kind to column.
    states, features, read_outs : ndarray, shape (n, L+1, C, C)
        Gram matrices by site, or empty.
    outputs : ndarray, shape (n, D)
    """

    net: ConcreteNet
    inputs: int
    tangents: Mapping[str, int]
    states: Floats
    features: Floats
    read_outs: Floats
    outputs: Floats

    @property
    def read_out_law(self) -> Law:
        """Variances of the read-out; unit weights without bias if the network has none."""
        return read_out_law(self.net)

    def of_inputs(self, site: Floats) -> Floats:
        """Return the entries between inputs: (n, L+1, D, D), or (n, L+1) for one input."""
        return site[:, :, 0, 0] if self.inputs == 1 else site[:, :, : self.inputs, : self.inputs]


@dataclass(frozen=True)
class Observable:
    """One thing that can be read off a sampled network.

    Attributes
    ----------
    name : str
    read : callable
        Record to rows, shape (n, ...).
    sites : tuple of str
        Which of ``"states" "features" "read_outs" "outputs"`` it reads.
    tangent : str or None
        Which tangent column it needs: ``"variance"``, ``"covariance"`` or ``"direction"``.
    inputs : int or None
        The number of inputs it is defined for; None for any.
    """

    name: str
    read: Callable[[Record], Floats]
    sites: tuple[str, ...]
    tangent: str | None = None
    inputs: int | None = None


def read_out_law(net: ConcreteNet) -> Law:
    """Return the variances of the read-out; unit weights without bias if there is none."""
    return (1.0, 0.0) if net.read_out is None else net.read_out


def _kernel(record: Record) -> Floats:
    return record.of_inputs(record.states)


def _layer_covariance(record: Record) -> Floats:
    weight, bias = record.net.branch_law
    covariance = np.asarray(weight * record.of_inputs(record.features) + bias)
    if record.net.read_out is not None:
        weight, bias = record.net.read_out
        covariance[:, -1] = weight * record.of_inputs(record.read_outs)[:, -1] + bias
    return covariance


def _output(record: Record) -> Floats:
    return record.outputs[:, 0] if record.inputs == 1 else record.outputs


def _output_squared(record: Record) -> Floats:
    y = record.outputs
    return y[:, 0] ** 2 if record.inputs == 1 else y[:, :, None] * y[:, None, :]


def _chi(record: Record) -> Floats:
    return 2 * record.states[:, :, 0, record.tangents["variance"]]


def _response(record: Record) -> Floats:
    slope = 2 * record.read_outs[:, :, 0, record.tangents["variance"]]
    return record.read_out_law[0] * slope


def _covariance_response(record: Record) -> Floats:
    return record.states[:, :, 0, record.tangents["covariance"]]


def _tangent(record: Record) -> Floats:
    v = record.tangents["direction"]
    squares = record.states[:, :, v, v]
    return np.asarray(squares / squares[:, :1])


OBSERVABLES: Mapping[str, Observable] = MappingProxyType(
    {
        observable.name: observable
        for observable in (
            Observable("kernel", _kernel, ("states",)),
            Observable("layer_covariance", _layer_covariance, ("features",)),
            Observable("output", _output, ("outputs",)),
            Observable("output_squared", _output_squared, ("outputs",)),
            Observable("chi", _chi, ("states",), "variance", 1),
            Observable("response", _response, ("read_outs",), "variance", 1),
            Observable("covariance_response", _covariance_response, ("states",), "covariance", 2),
            Observable("tangent", _tangent, ("states",), "direction", 1),
        )
    }
)
"""Every observable by name: the one place to add another."""


def needed_sites(observables: Sequence[Observable], net: ConcreteNet) -> set[str]:
    """Return the sites to record; the features behind the last block may be the read-out's."""
    sites = {site for observable in observables for site in observable.sites}
    return sites | {"read_outs"} if "features" in sites and net.read_out is not None else sites


def select(names: Sequence[str] | str, inputs: int) -> tuple[Observable, ...]:
    """Return the observables of the given names, in that order, each once.

    Raises
    ------
    HyperparameterError
        If a name is unknown, or none is given.
    UnsupportedError
        If an observable is not defined for this number of inputs.
    """
    listed = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    known = ", ".join(OBSERVABLES)
    unknown = [name for name in listed if name not in OBSERVABLES]
    if unknown or not listed:
        asked = f"observable {unknown[0]!r}" if unknown else "no observable"
        raise HyperparameterError(
            asked, "nothing of this name can be sampled", f"choose from {known}"
        )
    chosen = tuple(OBSERVABLES[name] for name in listed)
    for observable in chosen:
        if observable.inputs not in (None, inputs):
            raise UnsupportedError(
                f"{observable.name} of {inputs} input{'s' if inputs > 1 else ''}",
                f"it is defined for {observable.inputs}",
                f"pass K0 for {observable.inputs}",
            )
    return chosen


def starting_matrix(kernel: Floats, tangents: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    """Return what makes the columns at layer 0 from normals, and the parent of each tangent.

    Parameters
    ----------
    kernel : ndarray, shape (D, D)
        The kernel K^0.
    tangents : sequence of str
        Tangent kinds, one column each.

    Returns
    -------
    matrix : ndarray, shape (D + 1, D + T)
        `h^0_c = sum_k matrix[k, c] z_k`; row D multiplies the random direction.
    parents : ndarray, shape (T,)
        Input to which each tangent belongs.

    Raises
    ------
    KernelError
        If a derivative with respect to K^0 does not exist at this kernel.
    """
    inputs = len(kernel)
    root = triangular_root(kernel)
    matrix = np.zeros((inputs + 1, inputs + len(tangents)))
    matrix[:inputs, :inputs] = root.T
    parents = np.zeros(len(tangents), dtype=np.int64)
    for t, kind in enumerate(tangents):
        column, parents[t] = _TANGENTS[kind](kernel, root)
        matrix[: len(column), inputs + t] = column
    return matrix, parents


def _variance_tangent(kernel: Floats, root: Floats) -> tuple[Floats, int]:
    """Return dF/dK for one input: F = sqrt(K)."""
    if kernel[0, 0] <= 0:
        raise KernelError("a response at K0 = 0", "sqrt(K0) has no derivative", "use K0 > 0")
    return np.array([1 / (2 * root[0, 0])]), 0


def _covariance_tangent(kernel: Floats, root: Floats) -> tuple[Floats, int]:
    """Return the second row of dF/dK_12; the first input does not move."""
    if root[1, 1] <= 0 or root[0, 0] <= 0:
        raise KernelError(
            "the covariance response of dependent inputs",
            "their kernel is singular, so K12 cannot move freely",
            "use K12^2 < K11 K22",
        )
    return np.array([1 / root[0, 0], -root[1, 0] / (root[0, 0] * root[1, 1])]), 1


def _direction(kernel: Floats, root: Floats) -> tuple[Floats, int]:
    """Return a direction independent of the input."""
    column = np.zeros(len(kernel) + 1)
    column[-1] = 1.0
    return column, 0


_TANGENTS = {
    "variance": _variance_tangent,
    "covariance": _covariance_tangent,
    "direction": _direction,
}
