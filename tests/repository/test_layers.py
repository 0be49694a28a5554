"""The direction of the imports: arrows go down, without circles, and heavy packages come late.

Without this file a folder could come to use what stands above it, and `import efsgd` could come to
load scipy, torch or matplotlib. Late is inside a function, or for the type checker only: importing
the module does not load them.
"""

import subprocess
import sys

import pytest
from import_graph import (
    ROOT,
    Import,
    area,
    arrows,
    circle,
    imports,
    inside,
    packages,
    reached,
    rooms,
    sources,
)

EARLY, LATE = "anywhere", "inside functions only"
# It is imported late itself, where Triton is installed.
KERNELS = "efsgd.deep.optim.forms.triton_kernels"
# What each package may import besides the standard library and itself (clarabel comes with cvxpy).
MAY_IMPORT = {
    "efsgd": {"numpy": EARLY, "scipy": LATE},
    "efsgd.convex": dict.fromkeys(("efsgd", "numpy"), EARLY)
    | dict.fromkeys(("scipy", "cvxpy", "clarabel"), LATE),
    "efsgd.deep": dict.fromkeys(("efsgd", "numpy", "torch"), EARLY)
    | dict.fromkeys(("torchvision", "triton"), LATE),
    KERNELS: {"triton": EARLY},
    "efsgd.figures": dict.fromkeys(("efsgd", "numpy", "click"), EARLY)
    | dict.fromkeys(("matplotlib", "scipy", "torch", "efsgd.convex", "efsgd.deep"), LATE),
    # A folder of pictures belongs to a track: cli imports it late.
    "efsgd.figures.bounds": {"efsgd.convex": EARLY, "matplotlib": EARLY},
    "efsgd.figures.convex": {"efsgd.convex": EARLY, "matplotlib": EARLY},
    "efsgd.figures.own_data": {"efsgd.convex": EARLY, "matplotlib": EARLY},
    "efsgd.figures.theory": {"efsgd.convex": EARLY, "matplotlib": EARLY},
    "efsgd.figures.workers": {"efsgd.convex": EARLY, "matplotlib": EARLY},
}
# The one arrow upwards: a lazy alias, so that `import efsgd` is all that a user has to know.
ALIAS = ("efsgd", "efsgd.convex.verify")
# The one circle: `c.contractive(d)` is a short name of a Scaled, whose base class has it.
SHORT_NAME = ("efsgd.compressors.base", "efsgd.compressors.wrappers")
# What the compressors may not reach: who gives them vectors, and who keeps what came of it.
ABOVE_COMPRESSORS = ("efsgd.methods", "efsgd.engine", "efsgd.results", "efsgd.wire")


def is_alias(module: str, one: Import) -> bool:
    return one.late and module == ALIAS[0] and inside(one.name, ALIAS[1])


def graph_of(ours: dict[str, str]) -> dict[str, set[str]]:
    """Module -> the modules that it imports when run, less the two exceptions above.

    That a package exports what its own modules define is no arrow.
    """
    return {
        module: {
            target
            for target, one in arrows(source, ours)
            if not one.typing
            and not is_alias(module, one)
            and not (one.late and (module, target) == SHORT_NAME)
            and not (module in packages(ours) and inside(target, module))
        }
        for module, source in ours.items()
    }


def violations(module: str, source: str) -> list[str]:
    """One sentence for each import that `module` may not make."""
    allowed = {area(module): EARLY}
    for package, may in MAY_IMPORT.items():
        if package == area(module) or (inside(package, area(module)) and inside(module, package)):
            allowed |= may
    complaints = []
    for one in imports(source):
        top = area(one.name)
        if top in sys.stdlib_module_names or is_alias(module, one):
            continue
        when = allowed.get(top, "nowhere")
        if when == "nowhere" or (when == LATE and not one.late):
            complaints.append(f"{module}, line {one.line}: {area(module)} imports {top} {when}")
    return complaints


SOURCES = sources()
GRAPH = graph_of(SOURCES)


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_only_what_its_layer_may(module):
    assert violations(module, SOURCES[module]) == []


def test_there_are_no_circles():
    assert circle(GRAPH) == []


@pytest.mark.parametrize("package", sorted(packages(SOURCES)))
def test_every_room_stands_above_what_it_uses(package):
    """Also where each module would have its place, two folders must not use each other."""
    assert circle(rooms(GRAPH, package)) == []


def test_no_exception_is_out_of_date():
    for lower, upper in (ALIAS, SHORT_NAME):
        late = [one.name for one in imports(SOURCES[lower]) if one.late]
        assert any(inside(name, upper) for name in late)


def test_the_compressors_are_the_ground_floor():
    rest = [name for name in GRAPH if any(inside(name, above) for above in ABOVE_COMPRESSORS)]
    homes = [name for name in GRAPH if inside(name, "efsgd.compressors")]
    assert rest
    assert len(homes) > 8
    for home in homes:
        assert reached(GRAPH, home).isdisjoint(rest)


@pytest.mark.parametrize("package", sorted(packages(SOURCES)))
def test_no_module_has_the_name_of_what_its_package_exports(package):
    """`from efsgd.x import name` would give one or the other, as the order of imports has it."""
    for one in imports(SOURCES[package]):
        beside = f"{package}.{one.name.rpartition('.')[2]}"
        assert beside not in SOURCES or beside == one.name


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("efsgd.engine", "import torch", "imports torch nowhere"),
        ("efsgd.engine", "import scipy.sparse", "imports scipy inside functions only"),
        ("efsgd.engine", "class A:\n  import scipy", "scipy inside functions only"),
        ("efsgd.engine", "def f():\n  from efsgd.convex import ce1", "efsgd.convex nowhere"),
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
        ("efsgd.convex.data", "from efsgd.deep import train", "efsgd.deep nowhere"),
        ("efsgd.deep.train", "def f():\n  import efsgd.convex", "efsgd.convex nowhere"),
        ("efsgd.deep.train", "import torchvision", "torchvision inside functions only"),
        ("efsgd.deep.optim.forms.triton_step", "import triton", "triton inside functions only"),
        ("efsgd.figures.cli", "import matplotlib", "matplotlib inside functions only"),
        ("efsgd.figures.cli", "import efsgd.convex", "efsgd.convex inside functions only"),
        ("efsgd.figures.cli", "import pandas", "imports pandas nowhere"),
        ("efsgd.figures.convex", "import efsgd.deep", "efsgd.deep inside functions only"),
        ("efsgd.figures.cifar.grid", "import efsgd.deep", "efsgd.deep inside functions only"),
        ("efsgd.figures.convexity", "import efsgd.convex", "efsgd.convex inside functions only"),
    ],
)
def test_the_checker_sees_a_planted_fault(module, source, complaint):
    (sentence,) = violations(module, source)
    assert sentence.endswith(complaint)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("efsgd.engine", "import math\nimport numpy as np\nfrom efsgd.methods import EFSGD"),
        ("efsgd.engine", "def f():\n  from scipy import sparse"),
        ("efsgd.engine", "if typing.TYPE_CHECKING:\n  from scipy import sparse"),
        ("efsgd", "def __getattr__(n):\n  from efsgd.convex.verify import verify"),
        ("efsgd", "def __getattr__(n):\n  from efsgd.convex import verify"),
        ("efsgd.convex.data", "from efsgd.convex.optima import certify"),
        ("efsgd.figures.convex", "import matplotlib\nimport efsgd.convex.ce1"),
        ("efsgd.figures.convex.draws", "import matplotlib\nimport efsgd.convex.ce1"),
    ],
)
def test_the_checker_lets_good_imports_pass(module, source):
    assert violations(module, source) == []


def test_the_checker_sees_circles_and_ways_round():
    ours = {
        "efsgd": "from efsgd.a import A",
        "efsgd.a": "from efsgd.b import B",
        "efsgd.b": "def late():\n  from efsgd import c",
        "efsgd.c": "",
    }
    assert circle(graph_of(ours)) == []
    assert reached(graph_of(ours), "efsgd.a") == {"efsgd.b", "efsgd.c"}
    for closing in ("import efsgd.a", "from efsgd.a import A", "def f():\n  from efsgd import a"):
        assert circle(graph_of(ours | {"efsgd.c": closing}))
    for_types = "if TYPE_CHECKING:\n  import efsgd.a"
    assert circle(graph_of(ours | {"efsgd.c": for_types})) == []


def test_the_checker_sees_rooms_that_use_each_other():
    ours = {
        "efsgd": "from efsgd.a import A",
        "efsgd.a": "from efsgd.a.x import A",
        "efsgd.a.x": "from efsgd.b.u import U",
        "efsgd.a.y": "",
        "efsgd.b": "",
        "efsgd.b.u": "",
        "efsgd.b.v": "",
    }
    assert rooms(graph_of(ours), "efsgd") == {"a": {"b"}, "b": set()}
    ours["efsgd.b.v"] = "from efsgd.a.y import Y"  # no circle of modules, but of their folders
    assert circle(graph_of(ours)) == []
    assert circle(rooms(graph_of(ours), "efsgd"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("efsgd", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib", "click"}),
        ("efsgd.convex", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib", "click"}),
        ("efsgd.deep", {"scipy", "cvxpy", "torchvision", "matplotlib", "click", KERNELS}),
        ("efsgd.figures.cli", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib"}),
        ("efsgd.figures.cifar.command", {"scipy", "cvxpy", "torch", "torchvision", "matplotlib"}),
    ],
)
def test_importing_loads_nothing_heavy(module, unwanted):
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(ran.stdout.split())
    assert module in loaded
    assert unwanted.isdisjoint(loaded)
