"""Pictures need none of the user's settings of matplotlib, not even to be readable."""

import os
import subprocess
import sys

from project import python_path

CODE = """
import os
from efsgd.figures.drawing import style
from efsgd.figures.texts import for_matplotlib
with style.drawing():
    import matplotlib
    figure, axes = style.panels()
    figure.suptitle(for_matplotlib("price$$.npz"))
    figure.savefig("picture.png")
    print(matplotlib.rcParamsDefault["font.size"], os.getcwd(), os.environ["MPLBACKEND"])
"""


def test_a_backend_of_a_notebook_and_unreadable_settings_do_not_matter(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\x00")
    backend = "module://nowhere.backend_inline"
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": python_path(__file__), "MPLBACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout == f"10.0 {tmp_path} {backend}\n"
    assert (tmp_path / "picture.png").stat().st_size > 0
