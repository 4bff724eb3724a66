"""The folder a validation leaves behind: figures, formulas as LaTeX, and a JSON record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resexpand.errors import StoreError
from resexpand.export.figures.agreement import kernel_figure, response_figure
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.series import Curve, Optimum, Points, Profile
from resexpand.export.files import write_atomically
from resexpand.export.latex.to_latex import to_latex
from resexpand.export.record import environment, write_record
from resexpand.references import cite
from resexpand.theory.kernel import kernel
from resexpand.workflows.validate import Validation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(validation: Validation, out: Path) -> Validation:
    """Write figures, LaTeX and the record of a validation.

    Parameters
    ----------
    validation : Validation
        The results.
    out : Path
        Folder, made if it does not exist.

    Returns
    -------
    Validation
        The same with the paths of the files written.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    files = list(save_figure(draw_responses(validation), out / "response"))
    if validation.kernels is not None:
        files += save_figure(draw_kernels(validation), out / "kernel")
    files += write_formulas(validation, out)
    files.append(write_record(out / "record.json", **record(validation)))
    return replace(validation, files=tuple(files))


def check_writable(out: Path) -> None:
    """Refuse a folder that cannot be written before the sampling, not after.

    Raises
    ------
    StoreError
        If the folder cannot be made or written.
    """
    try:
        write_atomically(out / ".probe", b"", "the results").unlink()
    except StoreError as error:
        raise StoreError(f"writing the results to {out}", error.why, error.remedy) from error


def draw_responses(validation: Validation) -> Figure:
    """Draw the response against the residual scale with its optima: the claim as a figure."""
    settings, theory = validation.settings, validation.theory
    scales, agreements = list(validation.responses), list(validation.responses.values())
    curves, points, optima = [], [], []
    for depth, best in zip(settings.depths, theory.best, strict=True):
        line = theory.lines[:, depth]
        curves.append(Curve(depth, theory.scales, line))
        points.append(Points.of(depth, scales, agreements, settings.measured.output, at=depth))
        if best["rho"] <= theory.scales[-1]:
            height = float(np.interp(best["rho"], theory.scales, line))
            optima.append(Optimum(depth, float(best["rho"]), height))
    constant = float(theory.best[-1]["c"])
    widths = ", ".join(map(str, settings.widths))
    whole = settings.input_kernel()
    single = np.ndim(settings.start) == 0
    start = f"$K^0 = {whole[0, 0]:.4g}$" if single else f"{len(whole)} columns"
    return response_figure(
        curves,
        points,
        optima,
        constant if np.isfinite(constant) and constant > 0 else None,
        validation.agreement,
        quantity=settings.measured.axis,
        subtitle=f"{settings.described}{start}; widths {widths} extrapolated",
    )


def draw_kernels(validation: Validation) -> Figure:
    """Draw the kernel of the data over the layers."""
    agreement = validation.kernels
    if agreement is None:
        raise ValueError("the validation has no kernel of data")
    count = len(validation.settings.input_kernel())
    shown = [(a, b) for a in range(count) for b in range(a, count)][:6]
    profiles = [
        Profile.of(agreement, "K", pair=pair, label=f"$K_{{{pair[0] + 1}{pair[1] + 1}}}$")
        for pair in shown
    ]
    settings = validation.settings
    scale = settings.scales[len(settings.scales) // 2]
    words = rf"{settings.described}$\rho = {scale:g}$"
    return kernel_figure(profiles, agreement, subtitle=words)


def write_formulas(validation: Validation, out: Path) -> list[Path]:
    """Write the formulas as a LaTeX document and their bibliography as BibTeX."""
    net = validation.settings.symbolic_network()
    recursion, optimum = validation.theory.response, validation.theory.optimum
    single = validation.settings.measured.kind != "kernel"
    shown = [net, *([kernel(net)] if single else []), recursion]
    shown += [] if optimum is None else [optimum]
    text = to_latex(shown, style="document", closed=True)
    formulas, bibliography = out / "formulas.tex", out / "references.bib"
    write_atomically(formulas, text.encode(), "the formulas")
    write_atomically(bibliography, cite(*shown[1 + single :]).encode(), "the bibliography")
    return [formulas, bibliography]


def record(validation: Validation) -> dict[str, Any]:
    """Return everything a reader needs to repeat the run and check its numbers."""
    settings, theory = validation.settings, validation.theory
    responses = {f"{scale:g}": a.to_dict() for scale, a in validation.responses.items()}
    samplers = {f"{scale:g}": a.to_dict() for scale, a in validation.samplers.items()}
    by_kernel = settings.measured.kind == "kernel"
    return {
        "environment": environment(),
        "settings": settings.to_dict(),
        "formulas": {
            "C": str(theory.response.definitions[-1][1]),
            "K": str(theory.response.update[0]),
            "chi": None if by_kernel else str(theory.response.update[-1]),
            "eta": None if by_kernel else str(theory.response.output("eta").entries[0]),
            "condition": None if theory.optimum is None else str(theory.optimum.condition.lhs),
        },
        "optimum": {
            str(depth): {**{k: float(v) for k, v in best.items()}, "status": best.status}
            for depth, best in zip(settings.depths, theory.best, strict=True)
        },
        "theory": {"scales": theory.scales, settings.measured.output: theory.lines},
        "responses": responses,
        "dense_against_function_space": samplers,
        "kernel": None if validation.kernels is None else validation.kernels.to_dict(),
        "verdict": {
            "verdict": validation.agreement.verdict,
            "reason": validation.agreement.reason,
            "exit_code": validation.exit_code,
        },
    }
