"""The sampler as source text: one straight line of operations per layer, for one branch.

`sampler_text` writes it in pieces; the driver `draw_networks` propagates the columns of one network
after another. Its text spells out the branch, and calls the loops that take each group of columns
(`resexpand.montecarlo.groups`) through the activation functions. On the CPU these loops are modules
of their own, called by address (`resexpand.montecarlo.source.division`): one driver serves all
activations.
All other loops over neurons and random numbers come from `resexpand.montecarlo.loops.columns` and
from the sampler (`function_space` or `dense`). Being files, the modules can be read and stepped
through, and their compiled form is kept on disk by Numba; they carry a digest of the library they
call, so that a changed library is a new file.

A network records Gram matrices `x_a . x_b / N` of its columns, by site and layer:

    states     of the S columns of the stream, l = 0 ... L
    features   of the F columns on which the last Linear of the branch acts, l = 1 ... L+1
    read_outs  of the F columns on which the read-out acts if placed behind layer l, l = 0 ... L

then the outputs, and the records of groups of columns at layers 0 ... L. Observables are
functions of these (`resexpand.montecarlo.observables.registry`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from resexpand.codegen.literals import comment
from resexpand.montecarlo.groups.gradients import Gradients
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.origin import Origin
from resexpand.montecarlo.groups.power_of_two import PowerOfTwoRescaling
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.source.attention import attends, buffers_of
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.correlated import memories_of, with_mixing
from resexpand.montecarlo.source.division import SamplerText
from resexpand.montecarlo.source.gate import copied, copy_buffer
from resexpand.montecarlo.source.imports import imports_of
from resexpand.montecarlo.source.single_column import is_single, single_text
from resexpand.montecarlo.source.wide import (
    gathering,
    is_wide,
    require_law,
    wide_name,
    with_wide,
)
from resexpand.montecarlo.weights.law import CORRELATED, GAUSSIAN, WeightLaw
from resexpand.network.resnet import Branch
from resexpand.network.steps import Step, opening_of

TITLE = "# Branch: {branch}."

HEADER = """\
# Residual networks drawn one after another, {method} sampler, {law} weights, library {digest}.
# Columns: {groups}.
from resexpand.montecarlo.loops.columns import add_scaled, gram, padded, remainders, start
from resexpand.montecarlo.lanes import (
    barrier, buffer, group, groups, is_leader, lane_entry, lane_share, memories, opaque,
)
from resexpand.montecarlo.loops.readings import write_distances, write_squares
{imports}
from resexpand.montecarlo.loops.control import linear_with_twin
from resexpand.montecarlo.loops.power_of_two import in_new_units
"""

DRIVER = '''
def buffers(matrix, added_to, width, scales, laws, twin_roots):
    """Return the shapes of the arrays that a network takes, in this order."""
{sizes}    return (
{shapes}    )


@driver
def draw_networks(
    first, draws, key0, key1, matrix, parents, at, added_to, width, scales, laws, read_out_law,
    twin_roots, memory, blocks, states, features, read_outs, outputs{sites},
):
    """Draw networks first ... first + draws - 1 and write their records.

    matrix (D+1, S) makes the columns of the stream at layer 0; at (G, 2): first column and
    number of carried columns of each group;
    added_to (F,): column of the stream that receives the image of a carried column; tangent t
    belongs to input parents[t]; twin_roots (L+1, linears, D, D): roots of the covariances of the
    twin. Results of size zero are not computed. blocks is L, or L+1 to read the branch once more.
    """
{sizes}{places}    biased = ({biased},)
    shared, remote = memories(memory)
{buffers}    h = stream[:carried]
{prologue}    for n in range(group(), draws, groups()):
        draw = np.uint64(first + n)
        start(stream, matrix, (key0, key1, 0, draw), scratch[0, :length])
        for layer in range(1, depth + 2):
            stream, h, x, y = opaque(stream), opaque(h), opaque(x), opaque(y)
            scratch = opaque(scratch)
{entering}            if states.size:
                gram(stream, width, states[n, layer - 1])
{readings}{head}            if layer > blocks:
                break
            place = (key0, key1, layer, draw)
{block}
{repeat}        if outputs.size:
            place = (key0, key1, depth + 1, draw)
            law = (read_out_law[0], {shrink}read_out_law[1])
            read_out({behind}, (inputs, width), law, place, scratch, outputs[n])
{epilogue}'''

SIZES = """\
    inputs, depth = matrix.shape[0] - 1, scales.size
    columns, carried = matrix.shape[1], added_to.size
    weighted = carried - twin_roots.shape[2]
    length = padded(width + 1)
"""

BUFFERS = {
    "stream": "(columns, length)",
    "x": "(carried, length)",
    "y": "(carried, length)",
    "scratch": "workspace(carried, length)",
}
"""The arrays of every network; the most used come first, to lie in shared memory."""

HEAD = """\
            if read_outs.size:
{maps}                gram({behind}, width, read_outs[n, layer - 1])
"""

# The factor of the stream multiplies every column except the origin, which stays at layer 0.
SKIP = """\
            for c in range(columns):
                {moves}write_multiple(stream[c], laws[laws.shape[0] - 1, 0], stream[c], length)
"""

READING = """\
            if {site}.size:
                {line}"""

FEATURES = """\
            if features.size:
                {gram}({source}, width, features[n, layer - 1])
            if layer > depth:
                break"""

# np.int64: for a literal, a type of its own, Numba would compile `linear` or `buffer` again.
LINEAR = """\
            law = (laws[{j}, 0], {shrink}laws[{j}, 1])
            linear({source}, {target}, biased, width, law, place, np.int64({j}), scratch)"""

CLOSING = """\
            add_scaled(stream, scales[layer - 1], {source}, added_to)"""

# If no observable reads the branch by itself, its normals are added without being stored.
LINEAR_CLOSING = """\
            law, scale = (laws[{j}, 0], {shrink}laws[{j}, 1]), scales[layer - 1]
            add_linear(
                {source}, stream, scale, added_to, biased, width, law, place, np.int64({j}), scratch
            )"""

TWIN_LINEAR = """\
            law, root = (laws[{j}, 0], {shrink}laws[{j}, 1]), twin_roots[layer - 1, {k}]
            linear_with_twin(
                {source}, {target}, biased, width, law, root, place, np.int64({j}), scratch
            )"""


def sampler_source(
    branch: Branch | Blocks,
    method: str,
    layout: Layout,
    law: WeightLaw = GAUSSIAN,
    target: str = "cpu",
) -> str:
    """Return the text of one module that draws networks with this branch (see `sampler_text`)."""
    return sampler_text(branch, method, layout, law, target).whole(target)


def sampler_text(
    branch: Branch | Blocks,
    method: str,
    layout: Layout,
    law: WeightLaw = GAUSSIAN,
    target: str = "cpu",
) -> SamplerText:
    """Return the pieces of the text that draws networks with this branch.

    Parameters
    ----------
    branch : Branch or Blocks
        Its operations and activations matter, its variances do not. `Blocks` may be of several
        kinds, and hold the maps in front of the read-out.
    method : str
        ``"function-space"`` or ``"dense"``.
    layout : Layout
        The columns to propagate. The number of inputs and tangents does not change the text, save
        that one input alone has a shorter one (`resexpand.montecarlo.source.single_column`).
    law : WeightLaw
        The law of the weights.
    target : str
        ``"cpu"`` or ``"cuda"``.
    """
    blocks = Blocks.of((branch,)) if isinstance(branch, Branch) else branch
    if is_single(blocks, method, layout, law):
        return single_text(blocks.shapes[0], library_digest(), target)
    require_law(blocks.steps, law)
    read = any(group.closing(site, "x") for group in layout.groups for site in group.sites)
    gaussian = law == GAUSSIAN and method == "function-space"
    fused = gaussian and blocks.skips and layout.weighted == layout.carried and not read
    text = HEADER.format(
        method=method,
        law=comment(law.name).removeprefix("# "),
        imports="\n".join([law.imports(method, fused, target), *imports_of(blocks)]),
        groups=", ".join(group.name for group in layout.groups),
        digest=library_digest(),
    )
    found = [
        (attends(step), tuple(group.functions(step.position, step.op)))
        for step in blocks.steps
        if not step.contracts
        for group in layout.groups
    ]
    maps = tuple(texts for sums, texts in found if not sums)
    # Attention calls what acts with weights: it stands beside the driver, which imports these.
    beside = dict.fromkeys(text for sums, texts in found if sums for text in texts)
    beside_driver = [text for text in beside if not any(text in texts for texts in maps)]
    title = TITLE.format(
        branch="; ".join(" -> ".join(map(_name_of, steps)) for steps in blocks.shapes)
    )
    module = law.samplers[method]
    sampler = (*law.functions(method), *(g.sampler(module, target) for g in layout.groups))
    backward = layout.of_kind(Gradients) is not None
    memories = memories_of(blocks, backward) if law is CORRELATED else {}
    driver = blocks.with_rows("".join([*beside_driver, _driver(blocks, layout, fused, memories)]))
    if memories:
        driver = with_mixing(driver)
    return SamplerText(title, (text, *sampler), maps, driver)


def _driver(blocks: Blocks, layout: Layout, fused: bool, memories: Mapping[str, str]) -> str:
    """Return the text of `draw_networks`."""
    # The activation that opens the branch also stands behind the last block, before the read-out;
    # if the branch is read once more there, `repeat` does so for the read-out.
    maps, behind = through_maps(layout, blocks.head)
    before, inside = maps, ""
    repeat = f"        if blocks > depth:\n{maps}" if maps else ""
    openings = [""] * len(blocks.shapes)
    if blocks.has_own_head:
        openings = [through_maps(layout, opening_of(steps))[0] for steps in blocks.shapes]
        repeat = textwrap.indent(textwrap.dedent(maps), " " * 8)
        before, inside = blocks.selection(), textwrap.indent(maps, " " * 4)
    head = f"{before}{HEAD.format(maps=inside, behind=behind)}"
    posts = [_post(layout, step) for step in blocks.post] or [""] * len(blocks.shapes)
    block = blocks.chosen(
        [
            opening + _block(blocks, steps, layout, fused) + post
            for opening, steps, post in zip(openings, blocks.shapes, posts, strict=True)
        ]
    )
    names = [group.name for group in layout.groups]
    buffers = {**BUFFERS, **{k: v for group in layout.groups for k, v in group.buffers.items()}}
    readings = [
        READING.format(site=site, line=line) + "\n"
        for group in layout.groups
        for site in group.sites
        if (line := group.reading(site))
    ]
    # Operations write to x and y in turn; the last adds to the stream itself where that is fused.
    results = [len(s) - (fused and _is_fused(s[-1])) for s in (*blocks.shapes, blocks.head) if s]
    if max(results) < 2:
        buffers["y"] = "(np.int64(0), length)"
    backward = layout.of_kind(Gradients) is not None
    buffers = with_wide(buffers, blocks.steps) | buffers_of(blocks.steps, backward)
    buffers |= {**memories, **copy_buffer(blocks.steps)}
    if noise := blocks.most_noise:
        buffers["noise"] = f"(np.int64({noise + 1}), length)"  # and scratch
    return DRIVER.format(
        biased=", ".join(_biased(layout)),
        sites="".join(f", {site}" for site in layout.sites),
        places="".join(
            f"    {name}_at, {name}_count = at[{k}, 0], at[{k}, 1]\n"
            for k, name in enumerate(names)
            if k
        ),
        entering="".join(group.entering() for group in layout.groups),
        readings="".join(readings),
        head=head,
        behind=behind,
        block=block,
        shrink=_shrink(layout),
        repeat=repeat,
        sizes=SIZES,
        buffers="".join(
            f"    {name}, shared, remote = buffer(shared, remote, {shape})\n"
            for name, shape in buffers.items()
        ),
        shapes="".join(f"        {shape},\n" for shape in buffers.values()),
        prologue="".join(group.prologue() for group in layout.groups),
        epilogue="".join(group.epilogue(blocks, behind) for group in layout.groups),
    )


def _is_fused(step: Step) -> bool:
    """Whether a contraction at the end of a block may add its images to the stream at once."""
    return step.contracts and not is_wide(step)


def through_maps(layout: Layout, steps: tuple[Step, ...]) -> tuple[str, str]:
    """Return the lines that take the stream through some maps, and where they leave it."""
    lines, source = "", "h"
    for step in steps:
        target = _other(source)
        lines += f"{_activation(layout.groups, step, source, target)}\n"
        source = target
    return lines, source


def _post(layout: Layout, step: Step) -> str:
    """Return the lines that take the stream through the map behind a block, back into itself."""
    return f"\n{_activation(layout.groups, step, 'h', 'x')}\n{'':12}keep(x, h)"


def _skip(layout: Layout) -> str:
    """Return the lines that multiply the stream, what stays at layer 0 excepted."""
    stays = "if c < origin_at or c >= origin_at + inputs:\n                    "
    return SKIP.format(moves=stays if layout.of_kind(Origin) else "")


def _biased(layout: Layout) -> list[str]:
    """Return the last input, and the further columns that stand for inputs, by name."""
    return ["inputs - 1", *(f"{group.name}_at" for group in layout.groups[1:] if group.biased)]


def _shrink(layout: Layout) -> str:
    """Return the factor that brings variances of biases to the units of the stream."""
    return "shrink * " if layout.of_kind(PowerOfTwoRescaling) else ""


def _block(blocks: Blocks, steps: tuple[Step, ...], layout: Layout, fused: bool) -> str:
    """Return the lines of one block behind its opening, up to the addition to the stream."""
    opening = opening_of(steps)
    source = through_maps(layout, opening)[1]
    lines, shrink, read = [], _shrink(layout), source
    for step in steps[len(opening) :]:
        j, target = step.position, _other(source)
        if step.contracts:
            act = wide_name(step.op) if is_wide(step) else source
            lines += [gathering(step, source)] if is_wide(step) else []
            lines += _before_linear(layout, source, act, step, steps)
            if fused and _is_fused(step) and step is steps[-1]:
                lines.append(LINEAR_CLOSING.format(source=source, j=j, shrink=shrink))
                return "\n".join([*lines, *layout.behind_linear(j, source, "stream", "scale")])
            template = LINEAR if layout.weighted == layout.carried else TWIN_LINEAR
            k = step.number - 1
            lines.append(template.format(source=act, target=target, j=j, k=k, shrink=shrink))
            lines += layout.behind_linear(j, source, target, "1.0")
        else:
            lines += copied(step, read, shrink)
            lines.append(_activation(layout.groups, step, source, target))
        read, source = source, target
    lines += [
        READING.format(site=site, line=line)
        for group in layout.groups
        for site in group.sites
        if (line := group.closing(site, source))
    ]
    skip = "" if blocks.skips else _skip(layout)
    return "\n".join([*lines, skip + CLOSING.format(source=source)])


def _before_linear(
    layout: Layout, source: str, act: str, step: Step, steps: tuple[Step, ...]
) -> list[str]:
    """Return the lines that record columns in front of a linear operation, which acts on `act`."""
    k = step.number - 1
    lines = [
        READING.format(site=site, line=line)
        for group in layout.groups
        for site in group.sites
        if (line := group.before_linear(site, k, source))
    ]
    last = step.number == sum(s.contracts for s in steps)
    kind = "gram" if act == source else "wide_gram"
    return [*lines, FEATURES.format(gram=kind, source=act)] if last else lines


def _activation(groups: tuple[ColumnGroup, ...], step: Step, source: str, target: str) -> str:
    """Return the lines that take all columns through a map."""
    calls = (group.call(step.position, step.op, source, target) for group in groups)
    return "\n".join(f"{'':12}{call}" for call in calls if call)


def _other(columns: str) -> str:
    """Return the array that an operation writes to: x and y in turn."""
    return "y" if columns == "x" else "x"


def _name_of(step: Step) -> str:
    named = step.label is None or step.op.text == step.op.kind
    return str(step.op.text) if named else f"{step.op.kind} {step.op.text}"
