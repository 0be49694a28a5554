"""Text of the user's, such as the name of a file, for wherever it is shown.

Names of files hold any bytes: line breaks, codes that move a terminal's cursor, dollar signs that
matplotlib reads as mathematics, letters that a font lacks.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache

MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


def printable(text: str) -> str:
    r"""The text in one line, with an escape for what does not print.

    >>> printable("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def shortened(text: str, longest: int = 60) -> str:
    """A text whose middle is left out where it is long.

    >>> shortened("abcdefghij", longest=7)
    'ab...ij'
    """
    if len(text) <= longest:
        return text
    end = (longest - 3) // 2
    return f"{text[: longest - 3 - end]}...{text[len(text) - end :]}"


def for_matplotlib(text: str) -> str:
    """The text as it stands, where matplotlib would read mathematics and lack letters.

    Its line breaks stay: whoever composed it has made the user's part :func:`printable`.
    """
    letters = _letters()
    known = (c if c == "\n" or ord(c) in letters else _escape(c) for c in text)
    return "".join(known).replace("$", r"\$")


def for_markdown(text: str) -> str:
    r"""The text as it stands, also in the cell of a table.

    >>> for_markdown("a_b|c")
    'a\\_b\\|c'
    """
    return MARKDOWN.sub(r"\\\1", printable(text))


def for_file_name(text: str, longest: int = 60) -> str:
    """The letters and digits of a text, of any script, which name a file everywhere.

    At most ``longest`` bytes, for the whole name may have 255; never empty.

    >>> for_file_name("price $$ (2).npz")
    'price-2-npz'
    """
    words = re.sub(r"\W+", "-", unicodedata.normalize("NFC", text)).strip("-")
    short = words.encode("utf-8", "ignore")[:longest].decode("utf-8", "ignore")
    return short.strip("-") or "unnamed"


def digest_of(decisive: object) -> str:
    """Eight hex digits that tell apart the names of files that different options made."""
    return hashlib.sha256(repr(decisive).encode()).hexdigest()[:8]


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


@cache
def _letters() -> frozenset[int]:
    """The letters that the font of all pictures has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=["DejaVu Sans"])))
    return frozenset(font.get_charmap())
