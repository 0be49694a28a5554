"""The direction of the imports: arrows go down, without circles, and heavy packages come late.

Late is inside a function, or for the type checker only: importing the module does not load them.
"""

import subprocess
import sys

import pytest
from import_graph import ROOT, Import, area, arrows, circle, imports, reached, sources

import efsgd

EARLY, LATE = "anywhere", "inside functions only"
# What each package may import besides the standard library and itself (clarabel comes with cvxpy).
MAY_IMPORT = {
    "efsgd": {"numpy": EARLY, "scipy": LATE},
    "efsgd.convex": dict.fromkeys(("efsgd", "numpy"), EARLY)
    | dict.fromkeys(("scipy", "cvxpy", "clarabel"), LATE),
    "efsgd.deep": dict.fromkeys(("efsgd", "numpy", "torch"), EARLY)
    | dict.fromkeys(("torchvision", "triton"), LATE),
    "efsgd.figures": dict.fromkeys(("efsgd", "numpy", "click"), EARLY)
    | dict.fromkeys(("matplotlib", "scipy", "torch", "efsgd.convex", "efsgd.deep"), LATE),
}
# figures/<track> and its pictures (which it alone imports) may import their track, and matplotlib,
# at the top: cli imports them late.
TRACKS = {
    "efsgd.figures.convex": "efsgd.convex",
    "efsgd.figures.bounds": "efsgd.convex",
    "efsgd.figures.theory": "efsgd.convex",
    "efsgd.figures.deep": "efsgd.deep",
}
# The one arrow upwards: a lazy alias, so that `import efsgd` is all that a user has to know.
ALIAS = ("efsgd", "efsgd.convex.verify")
# Methods that are short names of what is built on their class: late, and the only circles.
SHORT_NAMES = {
    ("efsgd.base", "efsgd.wire"),
    ("efsgd.base", "efsgd.wrappers"),
    ("efsgd.deep.training", "efsgd.deep.obtain"),
}
# From the top down: none of these may import one before it, nor through others.
FLOORS = ("efsgd.results", "efsgd.engine", "efsgd.methods")


def is_alias(module: str, found: Import) -> bool:
    return found.late and module == ALIAS[0] and f"{found.name}.".startswith(f"{ALIAS[1]}.")


def graph_of(ours: dict[str, str]) -> dict[str, set[str]]:
    """Module -> the modules that it imports when run, less the exceptions above."""
    return {
        module: {
            target
            for target, found in arrows(module, source, ours)
            if not found.typing
            and not is_alias(module, found)
            and not (found.late and (module, target) in SHORT_NAMES)
        }
        for module, source in ours.items()
    }


def drawn_in(graph: dict[str, set[str]]) -> dict[str, str]:
    """Module of figures -> the one track that it draws."""
    found = dict(TRACKS)
    for home, track in TRACKS.items():
        for module in graph.get(home, set()):
            importers = {other for other, targets in graph.items() if module in targets}
            if area(module) == "efsgd.figures" and importers == {home}:
                found[module] = track
    return found


def violations(module: str, source: str) -> list[str]:
    """One sentence for each import that `module` may not make."""
    package = area(module)
    allowed = MAY_IMPORT[package] | {package: EARLY}
    if module in DRAWN:
        allowed |= {"matplotlib": EARLY, DRAWN[module]: EARLY}
    said = []
    for found in imports(module, source):
        top = area(found.name)
        if top in sys.stdlib_module_names or is_alias(module, found):
            continue
        when = allowed.get(top, "nowhere")
        if when == "nowhere" or (when == LATE and not found.late):
            said.append(f"{module}, line {found.line}: {package} imports {top} {when}")
    return said


SOURCES = sources()
GRAPH = graph_of(SOURCES)
DRAWN = drawn_in(GRAPH)


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_only_what_its_layer_may(module):
    assert violations(module, SOURCES[module]) == []


def test_there_are_no_circles():
    assert circle(GRAPH) == []


def test_no_exception_is_out_of_date():
    for lower, upper in [ALIAS, *SHORT_NAMES]:
        late = [found.name for found in imports(lower, SOURCES[lower]) if found.late]
        assert any(f"{name}.".startswith(f"{upper}.") for name in late)


def test_the_engine_is_built_in_floors():
    assert set(FLOORS) <= set(GRAPH)
    for height, upper in enumerate(FLOORS):
        for lower in FLOORS[height + 1 :]:
            assert upper not in reached(GRAPH, lower), f"{lower} imports {upper}"


def test_the_compressors_are_the_ground_floor():
    homes = {kind.__module__ for kind in efsgd.Compressor.__subclasses__()} & set(GRAPH)
    homes = {home for home in homes if area(home) == "efsgd"}  # the tracks have some of their own
    assert homes
    for home in homes:
        assert reached(GRAPH, home).isdisjoint(FLOORS)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("efsgd.engine", "import torch", "imports torch nowhere"),
        ("efsgd.engine", "import scipy.sparse", "imports scipy inside functions only"),
        ("efsgd.engine", "class A:\n  import scipy", "scipy inside functions only"),
        ("efsgd.engine", "def f():\n  from efsgd.convex import ce1", "efsgd.convex nowhere"),
        ("efsgd.engine", "from . import convex", "efsgd.convex nowhere"),
        ("efsgd.engine", "def f():\n  from efsgd.convex import verify", "efsgd.convex nowhere"),
        ("efsgd.engine", "if TYPE_CHECKING:\n  import torch", "imports torch nowhere"),
        ("efsgd.engine", "if not TYPE_CHECKING:\n  import scipy", "functions only"),
        ("efsgd.engine", "if TYPE_CHECKING: ...\nelse:\n  import scipy", "functions only"),
        ("efsgd.wire", "import importlib\nimportlib.import_module('torch')", "torch nowhere"),
        ("efsgd.wire", "def f(n):\n  return __import__(n)", "<computed> nowhere"),
        ("efsgd", "from efsgd.convex.verify import verify", "efsgd.convex nowhere"),
        ("efsgd", "def f():\n  import efsgd.convex.data", "efsgd.convex nowhere"),
        ("efsgd.convex.data", "from cvxpy import Variable", "cvxpy inside functions only"),
        ("efsgd.convex.data", "def f():\n  import efsgd.figures.cli", "efsgd.figures nowhere"),
        ("efsgd.convex.data", "from ..deep import train", "efsgd.deep nowhere"),
        ("efsgd.deep.train", "def f():\n  import efsgd.convex", "efsgd.convex nowhere"),
        ("efsgd.deep.train", "import torchvision", "torchvision inside functions only"),
        ("efsgd.figures.cli", "import matplotlib", "matplotlib inside functions only"),
        ("efsgd.figures.cli", "import efsgd.convex", "efsgd.convex inside functions only"),
        ("efsgd.figures.cli", "import pandas", "imports pandas nowhere"),
        ("efsgd.figures.convex", "import efsgd.deep", "efsgd.deep inside functions only"),
    ],
)
def test_the_checker_sees_a_planted_fault(module, source, complaint):
    (said,) = violations(module, source)
    assert said.endswith(complaint)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("efsgd.engine", "import math\nimport numpy as np\nfrom efsgd.methods import EFSGD"),
        ("efsgd.engine", "def f():\n  from scipy import sparse"),
        ("efsgd.engine", "if typing.TYPE_CHECKING:\n  from scipy import sparse"),
        ("efsgd", "def __getattr__(n):\n  from efsgd.convex.verify import verify"),
        ("efsgd", "def __getattr__(n):\n  from efsgd.convex import verify"),
        ("efsgd.convex.data", "from efsgd.convex.optima import certify\nfrom . import linear"),
        ("efsgd.figures.convex", "import matplotlib\nimport efsgd.convex.ce1"),
    ],
)
def test_the_checker_lets_good_imports_pass(module, source):
    assert violations(module, source) == []


def test_the_checker_sees_circles_and_ways_round():
    ours = {
        "efsgd": "from efsgd.a import A",
        "efsgd.a": "from efsgd.b import B",
        "efsgd.b": "def late():\n  from . import c",
        "efsgd.c": "",
    }
    assert circle(graph_of(ours)) == []
    assert reached(graph_of(ours), "efsgd.a") == {"efsgd.b", "efsgd.c"}
    for closing in ("import efsgd.a", "from efsgd import A", "def f():\n  from . import a"):
        assert circle(graph_of(ours | {"efsgd.c": closing}))
    for_types = "if TYPE_CHECKING:\n  import efsgd.a"
    assert circle(graph_of(ours | {"efsgd.c": for_types})) == []


def test_a_module_that_others_share_draws_no_track():
    graph = {
        "efsgd.figures.convex": {"efsgd.figures.picture", "efsgd.figures.style", "efsgd.engine"},
        "efsgd.figures.picture": {"efsgd.figures.style"},
    }
    assert drawn_in(graph) == {**TRACKS, "efsgd.figures.picture": "efsgd.convex"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("efsgd", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib", "click"}),
        ("efsgd.convex", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib", "click"}),
        ("efsgd.figures.cli", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib"}),
        ("efsgd.figures.deep", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib"}),
    ],
)
def test_importing_loads_nothing_heavy(module, unwanted):
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(ran.stdout.split())
    assert module in loaded
    assert unwanted.isdisjoint(loaded)
