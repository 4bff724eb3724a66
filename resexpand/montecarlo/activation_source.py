"""An activation as source text: the function, its derivative, and the loop over the columns.

A tangent column v at the state h passes the activation as `phi'(h) v`, where phi' is the derivative
where it exists; at a kink it is the mean of both sides, which has probability zero.
"""

from __future__ import annotations

from resexpand.codegen.source import scalar_function
from resexpand.network.ops import Activation

LOOP = '''
@chunk
def activation_{j}(source, target, parents):
    """Write phi(h) for the inputs{words}."""
    inputs = source.shape[0] - parents.size
    for c in range(inputs):
        h, new = source[c], target[c]
        for i in range(h.size):
            new[i] = phi_{j}(h[i])
'''

TANGENTS = """\
    for t in range(parents.size):
        h, v, new = source[parents[t]], source[inputs + t], target[inputs + t]
        for i in range(h.size):
            new[i] = phi_{j}_prime(h[i]) * v[i]
"""


def activation_source(j: int, op: Activation, tangents: bool) -> list[str]:
    """Return the texts of the functions of the activation at position j of a branch.

    Raises
    ------
    UnsupportedError
        If the expression contains what no generated code computes.
    """
    texts = [scalar_function(f"phi_{j}", [op.variable], [op.expression])]
    if not tangents:
        return [*texts, LOOP.format(j=j, words="")]
    texts.append(scalar_function(f"phi_{j}_prime", [op.variable], [op.derivative(1)]))
    words = ", phi'(h) v for the tangents"
    return [*texts, LOOP.format(j=j, words=words) + TANGENTS.format(j=j)]
