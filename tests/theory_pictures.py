"""What the tests of several pictures of the theory share: results, and which claims fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
from doctored import Change, doctored, scale

from efsgd.results import Result, Work, obtain

Results = Mapping[str, Result]
Row = tuple[str, str, str, Change, str]  # picture, result, array, its change, the claim that fails

LARGER = scale(1 + 1e-9)


def last_is_nan(array: Any) -> Any:
    """The change that spoils one entry."""
    array.flat[-1] = np.nan
    return array


def all_results(
    modules: Mapping[str, ModuleType], smaller: Callable[[Work], Work], folder: Path
) -> dict[str, Results]:
    """The results of each picture, by its name; nobody can add to them."""
    return {
        name: MappingProxyType(
            {key: obtain(smaller(w), folder) for key, w in module.work(False, 0).items()}
        )
        for name, module in modules.items()
    }


def failed(module: ModuleType, results: Results) -> list[str]:
    """The texts of the claims that fail."""
    return [v.claim for v in module.verdicts(results) if v.passed is False]


def failed_on(module: ModuleType, results: Results, row: Row) -> list[str]:
    """The texts of the claims that fail on the results doctored so."""
    _, name, array, change, _ = row
    return failed(module, doctored(results, re.escape(name), {array: change}))


def never_failed(module: ModuleType, results: Results, rows: Sequence[Row]) -> set[str]:
    """The texts of the claims that fail on none of the doctored results, without decimals.

    A text may hold a measured number, which doctoring changes.
    """
    broken = {text for row in rows for text in failed_on(module, results, row)}
    claims = {v.claim for v in module.verdicts(results) if v.passed is not None}
    plain = {re.sub(r"0\.\d+", "", text) for text in broken}
    return {text for text in claims if re.sub(r"0\.\d+", "", text) not in plain}
