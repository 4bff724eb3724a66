r"""Gradients of an output, and the neural tangent kernel of networks of finite width.

For one output component `y_a = w . x_a + b` of input a (unit weights without bias if the network
has no read-out) and `p_a^l = dy_a/dh_a^l`, taken at fixed weights along each network:

    gradient               p_a^l . p_b^l, its diagonal is |dy/dh^l|^2                 l = 0 ... L
    gradient_overlap       p_a^l . p_b^L, so that |p^l - p^L|^2 can be formed         l = 0 ... L
    log_gradient           ln |p_a^l|^2                                               l = 0 ... L
    directional_derivative sum_a p_a^l . v_a^l; v_1^0 a random direction              l = 0 ... L
    ntk                    sum over parameters of (dy_a/dtheta)(dy_b/dtheta)
    ntk_layers             the same from the read-in (0), block l, the read-out (L+1), l = 0 ... L+1

and two that need no pass backward, only one more column for each input:

    ntk_moments            s (v_a.v_b + x_a.x_b)/N + t, v moved by copies of all parameters
    gradient_moments(l)    s v_a.v_b/N, v moved by a random direction at layer l

at the read-out, whose features are x and their tangents v. They are the covariances of the
derivatives of y along these tangents, given all but the read-out; the covariances given all but the
tangents are ntk and gradient. So the means are the same at every width. For one input and a read-
out with Gaussian weights the second moments are, too: the estimate and its `variance` are those of
`ntk` and of `gradient` at layer l, without the memory over all layers that a pass backward needs
(`resexpand.montecarlo.groups.tangents`).

Shapes (L+1,) for one input, (L+1, D, D) or (L+1, D) for several; ntk () or (D, D), ntk_layers
(L+2,) or (L+2, D, D); ntk_moments and gradient_moments(l) () or (D, D).

Parametrisation of the tangent kernel: every weight is `sqrt(s/fan-in)` times, every bias `sqrt(t)`
times a parameter of unit variance, and the derivative is with respect to that parameter (the "NTK
parametrisation"), so that the kernel has a limit at infinite width. A `Linear` with features x and
gradient g at its image then gives `(s x_a.x_b/N + t) g_a.g_b`, the read-out `s x_a.x_b/N + t`, and
the read-in, `h^0 = W_in x + b_in`, gives `K^0_ab p_a^0.p_b^0`. All parameters are trained; to leave
some out, subtract their layers in `ntk_layers`.

By the chain rule `sum_a p_a^l . v_a^l` is the derivative of the outputs along v^0, the first input
moving, and does not depend on l. Where averages run over a batch, `y_a` depends on all inputs, and
`p_a^l` is the derivative of the sum of the outputs of the batch.

Source: Jacot, Gabriel & Hongler, arXiv:1806.07572, for the tangent kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.groups.gradients import Gradients
from resexpand.montecarlo.groups.tangents import (
    PARAMETERS,
    Tangents,
    beginning_at,
)
from resexpand.montecarlo.observables.observable import Floats, Observable, Record

GRADIENTS = (Gradients(),)
OVERLAPPED = (Gradients(overlapped=True),)
PAIRED = (Gradients(paired=True), Tangents(("direction",)))


def _gradient(record: Record) -> Floats:
    return record.of_inputs(record.sites["gradients"])


def _gradient_overlap(record: Record) -> Floats:
    return record.of_inputs(record.sites["overlaps"])


def _log_gradient(record: Record) -> Floats:
    inputs = np.arange(record.inputs)
    logs = np.log(record.sites["gradients"][:, :, inputs, inputs])
    return np.asarray(logs[..., 0] if record.inputs == 1 else logs)


def _directional_derivative(record: Record) -> Floats:
    return record.sites["pairings"][:, :, 0]


def _ntk_layers(record: Record) -> Floats:
    first = record.start * record.sites["gradients"][:, :1]
    return record.of_inputs(np.concatenate([first, record.sites["ntk_layers"]], axis=1))


def _ntk(record: Record) -> Floats:
    return np.asarray(_ntk_layers(record).sum(axis=1))


@dataclass(frozen=True)
class ReadTangents:
    """Reads the covariances of derivatives of the output along columns of a kind.

    Attributes
    ----------
    kind : str
        Which tangents, one for each input.
    """

    kind: str

    def __call__(self, record: Record) -> Floats:
        """Return rows of shape (n, D, D), or (n,) for one input."""
        weight, bias = record.read_out_law
        first = record.tangent(f"{self.kind} of 0")
        own = slice(first, first + record.inputs)
        read = record.sites["read_outs"][:, -1]
        found = weight * read[:, own, own]
        if self.kind == PARAMETERS:
            found = found + weight * read[:, : record.inputs, : record.inputs] + bias
        return found[:, 0, 0] if record.inputs == 1 else found


def gradient_moments(layer: int) -> Observable:
    """Return the observable whose first two moments are those of ``|dy/dh^l|^2``, shape ().

    Raises
    ------
    HyperparameterError
        If the layer is not a whole number from 0 on.
    """
    if isinstance(layer, bool) or not isinstance(layer, int) or layer < 0:
        raise HyperparameterError(
            f"gradient_moments({layer!r})", "not a whole number from 0 on", "give one"
        )
    kind = beginning_at(layer)
    return Observable(
        "gradient_moments", ReadTangents(kind), ("read_outs",), (Tangents((kind,)),), None, (layer,)
    )


BACKWARD = (
    Observable("gradient", _gradient, ("gradients",), GRADIENTS),
    Observable("gradient_overlap", _gradient_overlap, ("gradients", "overlaps"), OVERLAPPED),
    Observable("log_gradient", _log_gradient, ("gradients",), GRADIENTS),
    Observable(
        "directional_derivative", _directional_derivative, ("gradients", "pairings"), PAIRED
    ),
    Observable("ntk", _ntk, ("gradients", "ntk_layers"), GRADIENTS),
    Observable("ntk_layers", _ntk_layers, ("gradients", "ntk_layers"), GRADIENTS),
    Observable("ntk_moments", ReadTangents(PARAMETERS), ("read_outs",), (Tangents((PARAMETERS,)),)),
)
"""The observables of this file."""
