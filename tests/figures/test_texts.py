"""Text of the user's, such as the name of a file, says the same wherever it is shown.

Without this file a name could stop a picture after hours of work, move the cursor of a terminal,
or take the place of another name.
"""

import re

import matplotlib
import pytest
from matplotlib.figure import Figure

from efsgd.figures import texts

ODD = (
    "price$$.npz", "a$b", "\\$", "a\nb", "\x1b[2J", "\udcff", "价格.svm", "a|b", "*_`<b>[x](y)",
    "%", "", "\u202e",
)  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_what_is_printed_is_one_line_that_any_stream_takes(text):
    line = texts.printable(text)
    assert line.isprintable()
    line.encode()
    assert texts.printable("plain, ä (1).npz") == "plain, ä (1).npz"


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_a_picture_shows_the_text_itself(text):
    figure = Figure()
    drawn = figure.text(0, 0, texts.for_matplotlib(texts.printable(text)))
    figure.canvas.draw()  # a letter that the font lacks is a warning, and so an error here
    shown, is_formula = drawn._preprocess_math(drawn.get_text())
    assert is_formula is False
    assert shown == texts.printable(text).replace("价格", "\\u4ef7\\u683c")


def test_a_formula_and_the_users_dollars_go_together():
    title = "$\\phi$ of " + texts.for_matplotlib("a$b")
    assert matplotlib.cbook.is_math_text(title)
    figure = Figure()
    figure.text(0, 0, title)
    figure.canvas.draw()


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_markdown_is_one_cell_without_markup(text):
    cell = texts.for_markdown(text)
    assert re.sub(r"\\([^a-zA-Z0-9])", r"\1", cell) == texts.printable(text)
    assert not re.search(r"(?<!\\)(\\\\)*[|*_`<\[]", cell)


def test_names_of_files_keep_letters_of_any_script_and_fit():
    names = [texts.for_file_name(text) for text in ODD]
    assert all(re.fullmatch(r"\w+(-\w+)*", name) for name in names)
    assert texts.for_file_name("价格.svm") != texts.for_file_name("数据.svm")
    assert texts.for_file_name("...") == "unnamed"
    assert texts.for_file_name("x" * 249) == "x" * 60
    assert texts.for_file_name("é" * 200) == "é" * 30  # two bytes each
    assert texts.for_file_name("e\u0301") == texts.for_file_name("é") == "é"
