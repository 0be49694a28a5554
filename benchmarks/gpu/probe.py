"""Which form of a training step works and is fastest: VGG19 at batch 128, in a graph or not.

The riskiest form comes last: an illegal access to memory makes CUDA unusable for the process.
"""

from typing import Any

from data import standin
from measure import Context, failure, table, timed, write
from output import STATE

from efsgd.deep.data.dataset import Dataset
from efsgd.deep.training.choice import TOLERANCE, distance
from efsgd.deep.training.device import library_flags, own_stream
from efsgd.deep.training.execution import Execution
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.figures.cifar.presets import METHODS

ORDER = ((False, "foreach"), (True, "foreach"), (False, "triton"), (True, "triton"))
EF = METHODS["ef-signsgd"]
Row = dict[str, Any]


def training(context: Context, data: str) -> Training:
    """EF-signSGD as the stage train runs it, on data of that name."""
    model, batch = ("resnet8", 8) if context.small else ("vgg19", 128)
    return Training(
        method=EF, lr=1e-3, model=model, data=data, batch=batch, precision=context.precision
    )


def measure_form(context: Context, data: Dataset, graph: bool, form: str) -> Row:
    """Milliseconds of a step in this form, or the failure; of Triton the distance to "foreach"."""
    row: Row = {"graph": graph, "form": form}
    execution = Execution(context.device, graph=graph, form=form)  # type: ignore[arg-type]
    repeats, warm, steps = (1, 0, 1) if context.small else (50, 10, 3)
    try:
        with own_stream(context.device), library_flags(context.precision, context.device):
            session = Session(training(context, data.name), data, execution)
            session.feed.start(0)
            row["ms"] = timed(session.first_step, context, repeats, warm)
            if form == "triton":
                row["apart"] = distance(EF, list(session.model.parameters()), steps)
    except Exception as error:
        row["failed"] = failure(error)
    return row


def works(row: Row) -> bool:
    """Whether a form runs, and agrees with "foreach"."""
    return "failed" not in row and row.get("apart", 0.0) <= TOLERANCE


def fastest(rows: list[Row]) -> dict[str, Any] | None:
    """The fastest form that works; None if none does."""
    working = [row for row in rows if works(row)]
    if not working:
        return None
    row = min(working, key=lambda row: row["ms"].median)
    return {"graph": row["graph"], "form": row["form"]}


def run(context: Context) -> bool:
    """Measure every form; whether all of them work."""
    data, rows = standin(context), []
    for graph, form in ORDER if context.cuda else ORDER[::2]:
        rows.append(measure_form(context, data, graph, form))
        context.output.update(STATE, {"best": fastest(rows)})
        write(context, "probe", {"rows": rows})
    cells = [
        [r["graph"], r["form"], r.get("failed", r.get("ms")), r.get("apart", "")] for r in rows
    ]
    table("A step of training, ms: median (min .. max)", ["graph", "form", "ms", "apart"], cells)
    return all(map(works, rows))
