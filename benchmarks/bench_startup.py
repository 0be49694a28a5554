"""How long a user waits for `import efsgd` and `efsgd-figures --help`, in fresh processes."""

import subprocess
import sys

import common  # noqa: F401  first: it sets the number of threads
from common import Spread, interleaved, machine, table, verdict

COMMANDS = {
    "import numpy": "import numpy",
    "import efsgd": "import efsgd",
    "efsgd-figures --help": "from efsgd.figures.cli import main; main(['--help'])",
}
TARGETS = {"import efsgd": 0.3, "efsgd-figures --help": 0.5}


def start(code: str) -> None:
    """Run it in a new process."""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


if __name__ == "__main__":
    machine()
    seconds = interleaved({name: lambda c=code: start(c) for name, code in COMMANDS.items()})
    rows = []
    for name, times in seconds.items():
        spread = Spread.of(times)
        ratio = str(Spread.ratio(times, seconds["import numpy"]))
        target = verdict(spread, TARGETS[name], at_least=False) if name in TARGETS else ""
        rows.append([name, str(spread), ratio, target])
    table("Fresh processes", ["what", "seconds", "times import numpy", "target"], rows)
