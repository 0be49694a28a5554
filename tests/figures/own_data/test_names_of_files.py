"""A file of the user's own may have any name: nothing fails after the work, nothing is lost.

Without this file a dollar sign or a byte that is no text could stop a comparison at its picture,
and two files could share one.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from efsgd.figures import cli

ODD = "price$$ |x_*\n\x1b[2J\udcff.npz"  # its last letter stands for the byte 255, which is no text
LONG = "价" * 80 + ".npz"  # 244 bytes, of 255 that a name may have


@pytest.mark.skipif(os.name != "posix", reason="names that other systems do not take")
def test_any_name_is_drawn_tabulated_and_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("plain.npz", X=rng.standard_normal((9, 2)), y=rng.standard_normal(9))
    for name in (ODD, LONG):
        Path(name).write_bytes(Path("plain.npz").read_bytes())
        words = ["convex", "--data", name, "--method", "sgd", "--lr", "0.1", "--steps", "5"]
        done = CliRunner().invoke(cli.main, [*words, "--jobs", "1", "--format", "svg"])
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.replace("\n", "").isprintable()
    stems = {path.stem for path in Path("figures-out").glob("*.svg")}
    assert {path.stem for path in Path("figures-out").glob("*.md")} == stems
    assert len(stems) == 2
    (odd,) = (stem for stem in stems if "price" in stem)
    assert odd.isprintable()
    assert "price$$ |x_*\\n\\x1b[2J\\udcff.npz: " in Path("figures-out", f"{odd}.svg").read_text()
    title = Path("figures-out", f"{odd}.md").read_text().splitlines()[0]
    assert title.startswith("# price\\$\\$ \\|x\\_\\*\\\\n\\\\x1b\\[2J\\\\udcff.npz: ")
    assert any("价价" in stem for stem in stems)
