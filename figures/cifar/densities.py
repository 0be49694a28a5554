"""The density of the corrected gradient, phi(g + e), as verdicts.

It decides how much scaled sign keeps of what it is given. In the paper's figure (VGG19 on CIFAR-10)
phi(g + e) lies above phi(g) until the step size first drops, and falls when it does: then the
memory was gathered with the larger steps and outweighs the gradient. Both are judged on every grid
with the paper's number of seeds, as neither speaks of the 200 epochs.
"""

from __future__ import annotations

from efsgd.arrays import Array
from efsgd.figures.cifar import paper
from efsgd.figures.cifar.study import Cell
from efsgd.figures.claims.intervals import Interval, decision, of_mean
from efsgd.figures.claims.verdicts import Verdict, observation

SOURCE = f"{paper.SOURCE}, figure of the density"
JUDGED = "ef-signsgd"  # the paper's method with a memory
LEAST = 0.05  # ours: well above 0, and well below the paper's minimum of .134


def shape(cell: Cell, at: str) -> list[Verdict]:
    """phi(g + e) beside phi(g) before the first drop, its fall at every drop, and where it ends.

    ``at`` names the model, the data and the batch size.
    """
    drops = [drop for drop in cell.entries[0].training.drops if drop > 0]
    if not (drops and cell.results):
        return []
    name, first = f"{at}: {cell.label}", drops[0]
    g, p = cell.series("phi_g"), cell.series("phi_p")
    text = f"{name}, phi(g + e) minus phi(g), mean of the epochs before lr drops"
    verdicts = [_above_zero(cell, text, (p - g)[:first].mean(axis=0))]
    for drop in drops:
        text = f"{name}, fall of phi(g + e) as lr drops after epoch {drop}"
        verdicts.append(_above_zero(cell, text, p[drop - 1] - p[drop]))
    text = f"{name}, phi(g + e) of the last epoch minus that of epoch {first}, before lr drops"
    return [*verdicts, observation(text, "measured here", str(of_mean(p[-1] - p[first - 1])))]


def _above_zero(cell: Cell, text: str, values: Array) -> Verdict:
    """A claim, (R,) one number a seed, where all runs are there, are enough and did not diverge."""
    interval = of_mean(values)
    if why := _unfit(cell):
        return observation(text, SOURCE, f"{interval}: {why}", "> 0")
    return decision(text, SOURCE, interval, above=0.0)


def _unfit(cell: Cell) -> str:
    """Why nothing is claimed of a cell, empty if something is."""
    if cell.method != JUDGED:
        return "not a method of the paper"
    if len(cell.results) < len(cell.entries):
        return f"{len(cell.results)} of {len(cell.entries)} runs"
    if len(set(cell.seeds)) < paper.SEEDS:
        return f"fewer than {paper.SEEDS} seeds"
    return f"{cell.diverged} of {len(cell.results)} runs diverged" if cell.diverged else ""


def least(cell: Cell) -> Interval:
    """The least phi(g + e) of any epoch, over the seeds; NaN if a run diverged."""
    return of_mean(cell.series("phi_p").min(axis=0)) if cell.results else of_mean(cell.finals())
