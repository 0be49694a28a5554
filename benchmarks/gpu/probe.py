"""Which form of a training step works and is fastest: VGG19 at batch 128, in a graph or not.

What is feared comes last: an illegal access spoils the process, and what was written before stays.
"""

from typing import Any

from data import standin
from home import STATE
from measure import Context, failure, table, timed, write

from efsgd.deep.training.choice import APART, distance
from efsgd.deep.training.device import library_flags, own_stream
from efsgd.deep.training.machine import Means
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.figures.cifar.presets import METHODS

ORDER = ((False, "foreach"), (True, "foreach"), (False, "triton"), (True, "triton"))
EF = METHODS["ef-signsgd"]


def trial(at: Context, name: str) -> Training:
    """EF-signSGD as it will be trained, on data of that name."""
    model, batch = ("resnet8", 8) if at.small else ("vgg19", 128)
    return Training(method=EF, lr=1e-3, model=model, data=name, batch=batch, precision=at.precision)


def measured(at: Context, data: Any, graph: bool, form: str) -> dict[str, Any]:
    """Milliseconds of a step in this form, or why there are none."""
    found: dict[str, Any] = {"graph": graph, "form": form}
    means = Means(at.device, graph=graph, form=form)  # type: ignore[arg-type]
    repeats, warm = (1, 0) if at.small else (50, 10)
    try:
        with own_stream(at.device), library_flags(at.precision, at.device):
            session = Session(trial(at, data.name), data, means)
            session.feed.start(0)
            found["ms"] = timed(session.first_step, at, repeats, warm)
            if form == "triton":
                found["apart"] = distance(
                    EF, list(session.model.parameters()), 1 if at.small else 3
                )
    except Exception as error:
        found["failed"] = failure(error)
    return found


def right(row: dict[str, Any]) -> bool:
    """Whether a form works, and leads where it should."""
    return "failed" not in row and row.get("apart", 0.0) <= APART


def best(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fastest that works and is right."""
    good = [r for r in rows if right(r)]
    if not good:
        return None
    first = min(good, key=lambda r: r["ms"].median)
    return {"graph": first["graph"], "form": first["form"]}


def run(at: Context) -> bool:
    """Whether all of them work."""
    data, rows = standin(at), []
    for graph, form in ORDER if at.cuda else ORDER[::2]:
        rows.append(measured(at, data, graph, form))
        at.home.update(STATE, {"best": best(rows)})
        write(at, "probe", {"rows": rows})
    cells = [
        [r["graph"], r["form"], r.get("failed", r.get("ms")), r.get("apart", "")] for r in rows
    ]
    table("A step of training, ms: median (min .. max)", ["graph", "form", "ms", "apart"], cells)
    return all(map(right, rows))
