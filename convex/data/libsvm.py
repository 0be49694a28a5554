"""LIBSVM text: ``label index:value index:value ...`` a line, indices from 1 on and increasing.

A block of lines is parsed in bulk, by array code that accepts only the usual form; a block that it
does not accept is parsed line by line, which names the first malformed line, if there is one. What
follows ``#`` is a comment; empty lines, a byte order mark and blanks behind a colon are skipped.
``qid:`` of ranking data is refused, and so is a largest index so far beyond the features that occur
that it must be a typo.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any, NamedTuple

import numpy as np

from efsgd.archives import Expanding
from efsgd.arrays import Array

BLOCK = 2**22  # bytes parsed at once
LONGEST_LINE = 2**28  # bytes
LARGEST = 2**31 - 1  # index
WIDE, USED = 10**7, 0.01  # a wider X in which fewer of the features occur is refused
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # with which some editors begin a text
BLANKS_BEHIND_COLON = re.compile(rb":[^\S\n]+")  # as protein of the LIBSVM site has them
EXAMPLE = "give lines such as '1 3:0.5 7:2'"


class Rows(NamedTuple):
    """Rows: their labels, how many entries each has, and the entries of all, row after row."""

    labels: Array  # (n,)
    counts: Array  # (n,)
    columns: Array  # (nnz,) of int32, from 0 on
    values: Array  # (nnz,)


def parse(file: IO[bytes] | Expanding, name: str) -> tuple[Any, Array]:
    """X (n, d) as scipy CSR with d the largest index, and y (n,).

    Raises ValueError with ``name`` and, where a line is malformed, its number.
    """
    from scipy.sparse import csr_array

    parts, line = [], 1
    for block in _blocks(file, name):
        if line == 1:
            block = block.removeprefix(BYTE_ORDER_MARK)
            _refuse_binary(block, name)
        if not block.isspace():
            block_text = BLANKS_BEHIND_COLON.sub(b":", block)
            rows = parse_in_bulk(block_text)
            parts.append(parse_line_by_line(block_text, name, line) if rows is None else rows)
        line += block.count(b"\n")
    labels, counts, columns, values = (
        np.concatenate([getattr(part, field) for part in parts] or [np.zeros(0)])
        for field in Rows._fields
    )
    if not labels.size:
        raise ValueError(f"{name} holds no rows: {EXAMPLE}")
    starts = np.concatenate(([0], np.cumsum(counts)))
    d = _dimension(columns, name)
    return csr_array((values, columns, starts), shape=(labels.size, d)), labels


def _dimension(columns: Array, name: str) -> int:
    """The largest index; ValueError where there is none, or one that must be a typo."""
    d = int(columns.max(initial=-1)) + 1
    if not d:
        raise ValueError(f"{name} holds labels and no features: {EXAMPLE}")
    if d > WIDE and (used := np.unique(columns).size) < USED * d:
        raise ValueError(
            f"{name}: the largest index is {d}, and only {used} features occur: "
            f"mend that index, or number the features 1, ..., {used}"
        )
    return d


def _blocks(file: IO[bytes] | Expanding, name: str) -> Iterator[bytes]:
    """The text in pieces of whole lines, each ending in a newline.

    ValueError for a line without end.
    """
    rest: list[bytes] = []
    while piece := file.read(BLOCK):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join((*rest, piece[:end]))
            rest = []
        rest.append(piece[end:])
        if sum(map(len, rest)) > LONGEST_LINE:
            raise ValueError(f"{name} has a line of more than {LONGEST_LINE} bytes: {EXAMPLE}")
    if any(rest):
        yield b"".join((*rest, b"\n"))


def _refuse_binary(block: bytes, name: str) -> None:
    """ValueError where the first line is no text: an archive, an image, UTF-16."""
    start = block.partition(b"\n")[0].partition(b"#")[0]
    try:
        binary = "\0" in start.decode("utf-8")
    except UnicodeDecodeError:
        binary = True
    if binary:
        raise ValueError(f"{name} is binary, or text that is not UTF-8: {EXAMPLE}, or .npz")


def parse_in_bulk(block: bytes) -> Rows | None:
    """The rows of a block, or None if anything about it is unusual.

    Each line has to consist of words separated by white space, the first without a colon and the
    others with one; a word with a colon has to hold two numbers, one without a single number.
    """
    text = re.sub(rb"#[^\n]*", b"", block) if b"#" in block else block
    chars = np.frombuffer(text, np.uint8)
    blank = chars <= ord(" ")
    begins = ~blank
    begins[1:] &= blank[:-1]
    words, colons = np.flatnonzero(begins), np.flatnonzero(chars == ord(":"))
    line = np.searchsorted(np.flatnonzero(chars == ord("\n")), words)
    first = np.diff(line, prepend=-1) > 0
    owner = np.searchsorted(words, colons, side="right") - 1
    if not np.array_equal(owner, np.flatnonzero(~first)):
        return None
    try:
        numbers = np.fromstring(text.replace(b":", b" "), sep=" ")
    except ValueError:
        return None
    if numbers.size != words.size + colons.size or not np.isfinite(numbers).all():
        return None
    at = np.arange(words.size) + np.cumsum(~first) - ~first  # where the numbers of a word start
    index, values = numbers[at[~first]], numbers[at[~first] + 1]
    counts = np.diff(np.flatnonzero(np.append(first, True))) - 1
    if not _increasing(index, counts):
        return None
    columns = (index - 1).astype(np.int32)
    return Rows(labels=numbers[at[first]], counts=counts, columns=columns, values=values)


def _increasing(index: Array, counts: Array) -> bool:
    """Whether the indices are whole numbers from 1 on, and increase within each row."""
    grows = np.diff(index, prepend=0) > 0
    starts = np.cumsum(counts) - counts
    grows[starts[counts > 0]] = True
    whole = (index == np.floor(index)) & (index >= 1) & (index <= LARGEST)
    return bool((grows & whole).all())


def parse_line_by_line(block: bytes, name: str, line: int) -> Rows:
    """The rows of a block, each number converted by Python; ``line`` is the first line's number.

    Raises ValueError for the first line that is malformed.
    """
    labels, counts, columns, values = [], [], [], []
    for number, text in enumerate(block.split(b"\n")[:-1], line):
        words = text.partition(b"#")[0].decode("ascii", "backslashreplace").split()
        if not words:
            continue
        try:
            labels.append(_number(words[0], "label"))
            row = [_entry(word) for word in words[1:]]
            _check_order([index for index, _ in row])
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: {error}") from None
        counts.append(len(row))
        columns += [index - 1 for index, _ in row]
        values += [value for _, value in row]
    return Rows(
        labels=np.array(labels, float),
        counts=np.array(counts, np.int64),
        columns=np.array(columns, np.int32),
        values=np.array(values, float),
    )


def _check_order(indices: list[int]) -> None:
    """ValueError where the indices of a row do not increase."""
    for before, after in pairwise(indices):
        if before >= after:
            raise ValueError(f"index {after} follows {before}: sort the indices, each once")


def _entry(word: str) -> tuple[int, float]:
    """The index and the value of one word ``index:value``."""
    index, colon, value = word.partition(":")
    if index == "qid":
        raise ValueError(f"{word!r} is of ranking data, which has another loss: remove the qid")
    try:
        position = _float(index)
    except ValueError:
        position = math.nan
    if not colon or not position.is_integer():
        raise ValueError(f"{_quoted(word)} is not index:value: write entries such as 3:0.5")
    if not 1 <= position <= LARGEST:
        remedy = "count from 1" + (", in scikit-learn by zero_based=False" if not position else "")
        raise ValueError(f"index {index} is not among 1, ..., {LARGEST}: {remedy}")
    return int(position), _number(value, "value")


def _number(word: str, role: str) -> float:
    """A finite number; ``role``, "label" or "value", names it in the ValueError."""
    try:
        value = _float(word)
    except ValueError:
        remedy = EXAMPLE if role == "label" else "write one"
        raise ValueError(f"the {role} {_quoted(word)} is not a number: {remedy}") from None
    if not math.isfinite(value):
        raise ValueError(f"the {role} is {word}: drop or fill such entries")
    return value


def _float(word: str) -> float:
    """A number without the underscores that Python allows among digits; ValueError for others."""
    return float(word.replace("_", "?"))


def _quoted(word: str) -> str:
    """The word in quotes, cut off where it is long."""
    return repr(word if len(word) <= 40 else word[:37] + "...")
