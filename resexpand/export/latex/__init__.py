"""Results as LaTeX: sections, layout and the printer behind `to_latex`."""
