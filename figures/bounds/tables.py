"""The table of compressors and dimensions in markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from efsgd.figures.bounds.zoo_claims import silent
from efsgd.figures.cifar.tables import escaped, piped
from efsgd.results import Result

HEADS = (
    "compressor",
    "d",
    "quantity",
    "claimed",
    "certified",
    "by",
    "at the named vector",
    "worst found",
    "Gaussian: mean, worst",
    "verdict",
    "message, bits",
)
NOTE = (
    "delta: |C(x)-x|^2 <= (1-delta)|x|^2. omega, of unbiased compressors: E|C(x)-x|^2 <= "
    "omega|x|^2. +-: standard error. certified: recomputed from the programme's solution; argument "
    "and identity are lines of reasoning, for which no programme was solved; fitted: for a form "
    "that the compressor has wherever it was tried. message: the longest that was made, with its "
    "header, of what is allowed"
)
NUMBERS = (
    "claimed", "certified", "dual", "gap", "proof_seconds", "attaining", "attaining_error",
    "worst", "error", "gaussian", "gaussian_worst", "bias", "bits", "allowed",
)  # fmt: skip
TEXTS = ("quantity", "guarantee", "verdict", "kind", "proof", "reason")


def number(value: float, error: float = 0.0) -> str:
    """ "0.25", "0.251 +- 0.002", "-" for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:.6g}" + (f" +- {error:.1g}" if error > 0 else "")


def cells(result: Result) -> list[str]:
    """A row under HEADS."""
    numbers = {name: float(result[name]) for name in NUMBERS}
    gaussian = [numbers["gaussian"], numbers["gaussian_worst"]]
    return [
        str(result.spec["compressor"]),
        str(result.spec["d"]),
        "-" if silent(result) else str(result["quantity"]),
        number(numbers["claimed"]),
        number(numbers["certified"]),
        str(result["kind"]),
        number(numbers["attaining"], numbers["attaining_error"]),
        number(numbers["worst"], numbers["error"]),
        ", ".join(f"{value:.4g}" for value in gaussian if not math.isnan(value)) or "-",
        str(result["verdict"]),
        f"{numbers['bits']:.0f} of {numbers['allowed']:.0f}" if numbers["bits"] else "-",
    ]


def markdown(results: Sequence[Result], more: str = "") -> str:
    """The table with a title and what its columns mean; ``more`` comes after it."""
    lines = ["# Bounds of compressors", "", piped(HEADS), piped(["---"] * len(HEADS))]
    lines += [piped(cells(result)) for result in results]
    return "\n".join([*lines, "", f"{NOTE}.", *(["", more] if more else [])]) + "\n"


def latex(results: Sequence[Result]) -> str:
    """A tabular for \\input, which needs no package."""
    body = [" & ".join(map(escaped, cells(r))).replace("+-", "$\\pm$") for r in results]
    body = [line.replace("^2", "$^2$") for line in body]
    lines = [f"% {NOTE}", f"\\begin{{tabular}}{{lr{'l' * (len(HEADS) - 2)}}}", "\\hline"]
    lines += [" & ".join(map(escaped, HEADS)) + " \\\\", "\\hline"]
    lines += [f"{line} \\\\" for line in body]
    return "\n".join([*lines, "\\hline", "\\end{tabular}"]) + "\n"


def comma_separated(results: Sequence[Result]) -> str:
    """All numbers to ten digits, an empty field where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["compressor", "d", *TEXTS, *NUMBERS])
    for result in results:
        values = [float(result[name]) for name in NUMBERS]
        fields = ["" if math.isnan(value) else f"{value:.10g}" for value in values]
        texts = [str(result[name]) for name in TEXTS]
        writer.writerow([result.spec["compressor"], result.spec["d"], *texts, *fields])
    return text.getvalue()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain markdown table."""
    return "\n".join([piped(heads), piped(["---"] * len(heads)), *map(piped, rows)])
