"""The sampler as source text: one straight line of operations per layer, for one branch.

`sampler_source` writes a Python module whose only public function `draw_networks` propagates the
columns of one network after another. The text contains the activation functions and their
derivatives and spells out the branch; all loops over neurons and random numbers come from
`resexpand.montecarlo.columns` and from the sampler (`function_space` or `dense`). Being a file, it
can be read and stepped through, and its compiled form is kept on disk by Numba; it carries a digest
of the library it calls, so that a changed library is a new file.

What a network leaves behind are Gram matrices `x_a . x_b / N` of its columns, by site and layer:

    state     h^l, l = 0 ... L
    features  what the last Linear of the branch acts on, l = 1 ... L+1
    read-out  what the read-out acts on if placed behind layer l, l = 0 ... L

and the outputs. Everything observable is read off these (`resexpand.montecarlo.observables`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from resexpand.codegen.source import module_source
from resexpand.montecarlo.activation_source import activation_source
from resexpand.network.ops import Activation, Linear
from resexpand.network.resnet import Branch

LIBRARY = ("jit", "philox", "normals", "streams", "columns", "function_space", "dense")

HEADER = """\
# Residual networks drawn one after another, {method} sampler, library {digest}.
# Branch: {branch}.
from resexpand.montecarlo.columns import add_scaled, gram, padded, start
from resexpand.montecarlo.{module} import linear, read_out, workspace
"""

DRIVER = '''
@driver
def draw_networks(
    first, draws, key0, key1, matrix, parents, width, scales, laws, read_out_law, blocks,
    states, features, read_outs, outputs,
):
    """Draw networks first ... first + draws - 1 and write what they leave behind.

    matrix (D+1, C) makes the columns at layer 0; tangent t belongs to input parents[t]. Results
    of size zero are not wanted. blocks is L, or L+1 to read the branch once more at the end.
    """
    count = matrix.shape[1]
    size = (count - parents.size, width)
    depth = scales.size
    length = padded(width + 1)
    h = np.zeros((count, length))
    x = np.zeros((count, length))
    y = np.zeros((count, length))
    scratch = workspace(count, length)
    for n in range(draws):
        draw = np.uint64(first + n)
        start(h, matrix, (key0, key1, 0, draw), scratch[0, :length])
        for layer in range(1, depth + 2):
            if states.size:
                gram(h, width, states[n, layer - 1])
{opening}            if read_outs.size:
                gram({behind}, width, read_outs[n, layer - 1])
            if layer > blocks:
                break
            place = (key0, key1, layer, draw)
{block}
            add_scaled(h, scales[layer - 1], {result})
        if outputs.size:
            place = (key0, key1, depth + 1, draw)
            law = (read_out_law[0], read_out_law[1])
            read_out({behind}, size, law, place, scratch, outputs[n])
'''

FEATURES = """\
            if features.size:
                gram({source}, width, features[n, layer - 1])
            if layer > depth:
                break"""

LINEAR = """\
            linear({source}, {target}, size, (laws[{j}, 0], laws[{j}, 1]), place, {j}, scratch)"""


def sampler_source(branch: Branch, method: str, tangents: bool) -> str:
    """Return the text of the module that draws networks with this branch.

    Parameters
    ----------
    branch : Branch
        Its operations and activations matter, its variances do not.
    method : str
        ``"function-space"`` or ``"dense"``.
    tangents : bool
        Whether tangent columns are propagated, which takes the derivatives of the activations.
    """
    head = HEADER.format(
        method=method,
        module=method.replace("-", "_"),
        branch=" -> ".join(_op_name(op) for op in branch.ops),
        digest=library_digest(),
    )
    functions = [
        text
        for j, op in enumerate(branch.ops)
        if isinstance(op, Activation)
        for text in activation_source(j, op, tangents)
    ]
    return module_source([head, *functions, _driver(branch)])


@cache
def library_digest() -> str:
    """Return the digest of the library files that the text calls."""
    folder = resources.files("resexpand.montecarlo")
    texts = (folder.joinpath(f"{name}.py").read_bytes() for name in LIBRARY)
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def _driver(branch: Branch) -> str:
    """Return the text of `draw_networks`."""
    # The activation that opens the branch also stands behind the last block, before the read-out.
    opening, behind = "", "h"
    if branch.reads_activation:
        opening, behind = f"{'':12}activation_0(h, x, parents)\n", "x"
    block, result = _block(branch)
    return DRIVER.format(opening=opening, behind=behind, block=block, result=result)


def _block(branch: Branch) -> tuple[str, str]:
    """Return the lines of one block and the name of the array that holds its result."""
    last = max(j for j, op in enumerate(branch.ops) if isinstance(op, Linear))
    lines, source = [], "h"
    for j, op in enumerate(branch.ops):
        target = "y" if source == "x" else "x"
        if j == last:
            lines.append(FEATURES.format(source=source))
        if isinstance(op, Activation):
            if j > 0:
                lines.append(f"{'':12}activation_{j}({source}, {target}, parents)")
        else:
            lines.append(LINEAR.format(source=source, target=target, j=j))
        source = target
    return "\n".join(lines), source


def _op_name(op: Activation | Linear) -> str:
    return "Linear" if isinstance(op, Linear) else f"Activation {op.expression}"
