r"""Response functions of networks of finite width, to order 1/N.

At finite width a response is a random variable of each network, a derivative at fixed weights:

- ``variance``: ``chi^l = dG^l/dK^0``, ``G^l = |h^l|^2/N``, along ``h^0 = sqrt(K^0) z`` at fixed
  normals z, that is ``2 h^l . v^l / N`` of the tangent ``v^0 = h^0/(2 K^0)``; and the output
  response ``eta^l = d (sigma_out^2 |phi(h^l)|^2/N) / dK^0``;
- ``layers``: the same from layer m on, ``chi^{l,m} = 2 h^l . v^l / N`` of the tangent that begins
  at layer m as ``h^m/(2 K^m)``, ``K^m`` the kernel at infinite width;
- ``covariance``: ``dG_12^l/dK_12^0`` of two inputs, the first at rest, along ``h^0 = z F^T`` at
  fixed normals, F the Cholesky factor of ``K^0``;
- ``tangent``: ``|J^l v|^2/|v|^2``, the squared norm of a tangent, ``J^l = dh^l/dh^0``, along a
  random direction v; its output response is ``|dy/dh^0|^2`` on average over the read-out;
- ``gradient``: ``|p^l|^2``, ``p^l = dy/dh^l`` of one output y, and the ratio ``|p^0|^2/|p^L|^2``;
- ``parameters``: the tangent kernel ``Theta = sum (dy/dtheta)^2`` over all parameters;
- ``step``: what a step ``theta -> theta - eta e dy/dtheta`` does to ``|h^l|^2``, ``e = y - y*`` the
  error on this input, with ``q^l = sum (dy/dtheta) (dh^l/dtheta)``.

A tangent is one more column of the network, with the features ``phi'(h) v``; given the past the
rows of all columns are independent normals, and the order 1/N of inputs (`one_loop`) holds for all
columns as it stands. No backward pass is needed: with a normal v and the Gram entry ``C_vv`` of the
read-out, at every width

    E |p^l|^2 = E C_vv,  E |p^l|^4 = E C_vv^2,      E Theta = E C_ww,  E Theta^2 = E C_ww^2,

v begun at layer l, and w the tangent by independent copies of all parameters. With a second one,
``w'``, sums over two parameters are averages as well: ``E |q^l|^2 = N^2 Cov(C_ww', G^l_ww')``. So
is the change of Theta by the step, with ``x`` the tangent of w along w'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.shown import Card, Tabled
from resexpand.network.requirements import require_network, require_sums
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop import OneLoop, one_loop
from resexpand.theory.one_loop.column_formulas import MOST, column_formulas

FiniteKind = Literal[
    "variance", "layers", "covariance", "tangent", "gradient", "parameters", "step"
]


@dataclass(frozen=True, repr=False)
class FiniteResponse(Tabled):
    """A response of a network at finite width, evaluated by `resexpand.evaluate`.

    Attributes
    ----------
    net : ResNet
        The network.
    kind : str
        Which response.
    one_loop : OneLoop
        The order 1/N of its input.
    neglects : str
        Order of what is neglected.
    citations : tuple of Citation
        Where the equations stand.
    """

    net: ResNet
    kind: FiniteKind
    one_loop: OneLoop
    neglects: str = "O(1/N^2)"
    citations: tuple[Citation, ...] = ()

    takes_width: ClassVar[bool] = True

    @property
    def inputs(self) -> int:
        """Number of inputs: the covariance response is that of two."""
        return 2 if self.kind == "covariance" else 1

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """All formulas, each after those it needs; entries hh, hv, vv of input and tangent.

        Raises
        ------
        UnsupportedError
            If the kind has none, or blocks differ.
        """
        if self.kind not in MOST or not self.one_loop.process.is_plain:
            raise UnsupportedError(
                f"the formulas of the finite-width response of kind {self.kind!r} of {self.net!r}",
                f"they are written for one kind of block, and for responses of kind {(*MOST,)}",
                "evaluate() gives the numbers",
            )
        process, base = self.one_loop.process, self.one_loop.kernel
        return tuple(column_formulas(base, process, self.kind, self.citations))

    def card(self) -> Card:
        """Return what it says about itself."""
        return Card(
            f"FiniteResponse: {self.kind}, order 1/N",
            (
                ("network", repr(self.net)),
                ("neglects", self.neglects),
                ("next", "evaluate(..., K0=..., width=...)"),
            ),
        )


def finite_response(net: ResNet, kind: FiniteKind = "variance") -> FiniteResponse:
    """Derive mean and variance of a response at finite width, to order 1/N.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic. Its branch must end in a `Linear` and hold
        `Linear`, `Activation` and `Scale` operations. Weights are Gaussian.
    kind : {"variance", "layers", "covariance", "tangent", "gradient", "parameters", "step"}
        Which response: of ``G^l`` to the variance of the input, or to its own at every earlier
        layer, of ``G_12^l`` to the covariance of two inputs (``K0`` is 2 x 2), of a random tangent
        vector, of one output to the stream at every layer, to all parameters (the tangent kernel,
        in the parametrisation of the observable ``ntk``), or the first step of training in it.

    Returns
    -------
    FiniteResponse
        Evaluate it. Coefficients of 1/N, layers ``l = 0 .. L`` on the last axis:

        - of ``variance``: ``chi_0``, ``eta_layers`` and ``eta`` at infinite width, as `response`
          has them; of each the shift ``.._shift``, ``lim N (E chi^l - chi^l_infinity)``, and
          ``.._var``, ``lim N Var chi^l``; ``chi_0_cov`` (L + 1, L + 1);
        - of ``layers``: ``chi`` with ``_shift`` and ``_var``, shape (L + 1, L + 1), entries ``[l,
          m]``, zero for ``m > l``;
        - of ``covariance``: ``covariance_response`` with ``_shift`` and ``_var``, by differences of
          columns (`resexpand.numbers.one_loop.pair_response`), whose error is stated as that of a
          quadrature;
        - of ``tangent``: the same with ``tangent`` for ``chi_0``;
        - of ``gradient``: ``gradient``, ``ratio`` with ``_shift`` and ``_var``;
        - of ``parameters``: ``ntk`` with ``_shift`` and ``_var``;
        - of ``step``, limits at infinite width of the change of ``|h^l|^2``, which is N times that
          of ``G^l``: ``drift``, the coefficient of ``eta`` (``-2 E y h.q``), and ``moved``,
          ``E |q|^2``, and ``bent``, what second derivatives add, the coefficient of ``eta^2 E e^2``
          being their sum. All but the read-out moves, or the blocks alone: ``drift_blocks`` ...;
          and ``ntk_drift``, N times the change of the tangent kernel, the coefficient of ``eta``
          (``-N E y sum (dy/dtheta) (dTheta/dtheta)``; all parameters move, with y* independent
          of the network), the mean of the tangent kernel of higher order;
        - ``validity``, shape (L + 1,): N times the relative variance, of the kernel or of the
          response, the larger; the next order is about ``validity / N`` of the one given.

        With ``width`` means at this width ``.._mean``, standard deviations from network to network
        ``.._deviation``, and ``relative_error``; means and deviations are NaN, with a sentence in
        ``problems``, where ``relative_error`` exceeds 0.25.

    Raises
    ------
    HyperparameterError
        If the kind is unknown.
    UnsupportedError
        If the branch does not end in a `Linear` or holds normalisations; when it is evaluated, if
        an activation has no derivative that is needed. A smooth activation needs ``phi'`` and, for
        ``variance``, ``phi''``; of those with kinks only functions that are linear on either side
        of zero (relu, leaky_relu, abs) have averages with their delta functions.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, finite_response
    >>> net = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=1, depth=2)
    >>> values = evaluate(finite_response(net), K0=1.0, width=100)
    >>> values["chi_0_mean"], values["chi_0_deviation"].round(3)
    (array([1., 2., 4.]), array([0.141, 0.374, 0.894]))
    """
    require_network(net, "the response at finite width")
    if kind not in get_args(FiniteKind):
        raise HyperparameterError(
            f"the finite-width response of kind {kind!r}",
            "it is unknown",
            f"use one of {get_args(FiniteKind)}",
        )
    require_sums(net, "the response at finite width")
    theory = one_loop(net)
    citations = (*theory.citations, Citation(REFERENCES["fischer2023"]))
    return FiniteResponse(net, kind, theory, citations=tuple(dict.fromkeys(citations)))
