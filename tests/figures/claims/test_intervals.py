"""Intervals: how wide they are, and that one which contains the limit is never called right."""

import math

import numpy as np
import pytest

from efsgd.figures.claims.intervals import Interval, binomial, decision, span, student


def test_student_is_that_of_the_tables():
    """12.706 for one degree of freedom, 1.96 for many, at 95 %."""
    assert student(1) == pytest.approx(12.7062, rel=1e-5)
    assert student(1e9) == pytest.approx(1.95996, rel=1e-5)


@pytest.mark.parametrize("count", [0, 1, 7, 20])
def test_the_interval_of_a_probability_leaves_half_of_the_rest_on_each_side(count):
    """By its definition: at its ends so many events or fewer, or more, have probability 1/40."""
    low, high = binomial(count, 20)

    def chance(p, counts):
        return sum(math.comb(20, k) * p**k * (1 - p) ** (20 - k) for k in counts)

    if count:
        assert chance(low, range(count, 21)) == pytest.approx(0.025, rel=1e-9)
    if count < 20:
        assert chance(high, range(count + 1)) == pytest.approx(0.025, rel=1e-9)
    assert (low == 0, high == 1) == (count == 0, count == 20)
    assert binomial(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("middle", "half", "word"),
    [
        (2, 0.5, "pass"),
        (2, 1.5, "observation"),
        (0, 0.5, "FAIL"),
        (2, math.inf, "observation"),
        (math.nan, math.inf, "FAIL"),
        (math.nan, math.nan, "FAIL"),
        (1, 0, "FAIL"),
    ],
)
def test_an_interval_on_both_sides_of_the_limit_decides_nothing(middle, half, word):
    verdict = decision("c", "s", Interval(middle, half), above=1)
    assert verdict.word == word
    assert ("not decided" in verdict.measured) == (word == "observation")
    assert (verdict.source, verdict.expected) == ("s, 95 %", "> 1")


def test_a_limit_itself_is_at_most_the_limit():
    assert decision("c", "s", Interval(1, 0), most=1, exact=True).passed is True
    assert decision("c", "s", Interval(1, 0), most=1, exact=True).source == "s"
    assert decision("c", "s", Interval(np.nextafter(1, 2), 0), most=1).passed is False


def test_a_span_is_one_number_where_its_ends_look_the_same():
    assert span(0.85361, 0.86437) == "0.854 to 0.864"
    assert span(0.98291, 0.98299) == "0.983"
    assert span(0.98291, 0.98344, 4) == "0.9829 to 0.9834"
