"""A step of EF-signSGD on the CPU against ``torch.optim.SGD`` with momentum, fused.

Each form steps parameters of its own, and each round takes several steps of each. There are two
more rounds to warm up than in the other benchmarks, for compiling and for first touches of memory.
"""

import common  # noqa: F401  first: it sets the number of threads
import torch
from candidates import BASELINE, NETWORKS, candidate, parameters
from common import Spread, interleaved, machine, table, verdict

from efsgd.deep.optim.forms.compiled import compiler_missing

STEPS = 3  # of each form in a round
TARGETS = {"compiled": 2.2}


def forms() -> list[str]:
    missing = compiler_missing(torch.device("cpu"))
    if missing:
        print(f"nothing is compiled: {missing}")
    return [BASELINE, *([] if missing else ["compiled"]), "foreach", "loop", "paper's form"]


def bench(network: str, classes: int) -> None:
    steps = {name: candidate(name, parameters(network, classes)) for name in forms()}

    def several(name: str) -> None:
        for _ in range(STEPS):
            steps[name]()

    tasks = {name: lambda name=name: several(name) for name in steps}
    interleaved(tasks, rounds=1)
    seconds = interleaved(tasks)
    rows = []
    for name, times in seconds.items():
        ratio = Spread.ratio(times, seconds[BASELINE])
        milliseconds = Spread.of(1e3 * s / STEPS for s in times)
        target = verdict(ratio, TARGETS[name], at_least=False) if name in TARGETS else ""
        rows.append([name, str(milliseconds), str(ratio), target])
    xs = parameters(network, classes)
    entries = sum(x.numel() for x in xs)
    title = f"{network}, {classes} classes: {len(xs)} tensors, {entries:,} parameters, float32"
    columns = ["form", "ms per step", f"times {BASELINE}", "target"]
    table(title, columns, rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    machine()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread; weight decay 5e-4,")
    print("momentum 0.9 in the baseline, none in EF-signSGD")
    for network, classes in NETWORKS.items():
        bench(network, classes)
