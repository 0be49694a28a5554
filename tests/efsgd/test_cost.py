"""The cost of a step: bytes and rounds counted in simulated exchanges, waiting in sums and draws.

Without this file a factor n - 1, bits taken as bytes or a forgotten phase would only show in a
picture, as a line that is somewhere else.
"""

import doctest
import importlib
import math
from fractions import Fraction

import numpy as np
import pytest
from mutants import edited

from efsgd.cost import (
    CostMap,
    Link,
    Machine,
    Scheme,
    around,
    by_server,
    collectives,
    doubling,
    fastest,
    harmonic,
    machines,
    measured,
    schemes,
    seconds_to_loss,
    step_seconds,
)

UNIT = Link.symmetric(8.0)  # one byte a second
PARTS = 200  # of a simulated message
IDLE = Machine(compute=0.0, copying=1.0)


# -- exchanges, simulated --------------------------------------------------------------------------


def ring_all_reduce(n: int) -> tuple[Fraction, int]:
    """(bytes over b, rounds): chunks of b/n go round until each worker has all sums."""
    held = [[{w} for _ in range(n)] for w in range(n)]  # whose entries are in each chunk
    rounds = 0
    while any(len(chunk) < n for chunks in held for chunk in chunks):
        sent = [set(held[w][(w - rounds) % n]) for w in range(n)]
        for w in range(n):
            held[(w + 1) % n][(w - rounds) % n] |= sent[w]
        rounds += 1
    return Fraction(rounds, n), rounds


def ring_gather(n: int) -> tuple[Fraction, int]:
    """Messages of b go round until each worker has all."""
    held, latest, rounds = [{w} for w in range(n)], list(range(n)), 0
    while any(len(messages) < n for messages in held):
        latest = [latest[w - 1] for w in range(n)]
        for w in range(n):
            held[w].add(latest[w])
        rounds += 1
    return Fraction(rounds), rounds


def doubling_gather(n: int) -> tuple[Fraction, int]:
    """Each worker sends what its partner at distance 1, 2, 4, ... lacks, until each has all."""
    held, distance, rounds, sent = [{w} for w in range(n)], 1, 0, Fraction(0)
    while any(len(messages) < n for messages in held):
        news = [held[(w + distance) % n] - held[w] for w in range(n)]
        held = [messages | new for messages, new in zip(held, news, strict=True)]
        sent, distance, rounds = sent + len(news[0]), 2 * distance, rounds + 1
    return sent, rounds


def bruck(n: int) -> tuple[Fraction, int]:
    """A chunk of b/n for the worker at distance j moves 2^i on for each bit i of j."""
    moves = sum(j.bit_count() for j in range(n))
    return Fraction(moves, n), (n - 1).bit_length()


def halving(n: int) -> tuple[Fraction, int]:
    """Half of what is left is sent, summed by the partner, until one chunk is left."""
    left, sent, rounds = Fraction(1), Fraction(0), 0
    while left > Fraction(1, n):
        left /= 2
        sent, rounds = sent + left, rounds + 1
    return sent, rounds


def both(first: tuple[Fraction, int], second: tuple[Fraction, int]) -> tuple[Fraction, int]:
    return first[0] + second[0], first[1] + second[1]


def gathered_chunks(n: int) -> tuple[Fraction, int]:
    sent, rounds = doubling_gather(n)
    return sent / n, rounds


def check_ring(n):
    assert around("ring", n) == pytest.approx(ring_all_reduce(n), rel=1e-15)


def check_gather(n):
    assert around("gather", n) == ring_gather(n)


def check_two_phase(n):
    """Each of the n-1 others gets a chunk in a round of its own, then the averages go round."""
    sent, rounds = Fraction(n - 1, n), n - 1
    averages, more = ring_gather(n)
    assert around("two-phase", n) == pytest.approx((sent + averages / n, rounds + more), rel=1e-15)


def check_gather_doubling(n):
    assert doubling("gather", n) == doubling_gather(n)


def check_ring_doubling(n):
    assert doubling("ring", n) == both(halving(n), gathered_chunks(n))


def check_two_phase_doubling(n):
    assert doubling("two-phase", n) == both(bruck(n), gathered_chunks(n))


def passed_in(n: int, size: float, own: float, shared: float) -> float:
    """Seconds until n messages, cut into PARTS, have passed ways of their own and a shared one.

    A part waits until the shared way is free; the messages take turns.
    """
    free, part = 0.0, size / PARTS  # when the shared way is
    for ready in (k * part / own for k in range(1, PARTS + 1)):
        for _ in range(n):
            free = max(free, ready) + part / shared
    return free


def passed_out(n: int, size: float, shared: float, own: float) -> float:
    """The other way round: from a shared way in turns to those of their own."""
    there, now, part = [0.0] * n, 0.0, size / PARTS
    for i in range(PARTS * n):
        now += part / shared
        there[i % n] = max(there[i % n], now) + part / own
    return max(there)


def check_server(n):
    """Part by part: 1 byte a second from a worker, 3 into the server, 5 out of it, 2 to a worker.

    Cut into parts they are late by at most one. Each of three messages has both latencies.
    """
    link, server = Link(up=8.0, down=16.0, latency=0.25), Link(up=40.0, down=24.0, latency=9.0)
    sent = passed_in(n, 10.0, own=1.0, shared=3.0) + passed_out(n, 6.0, shared=5.0, own=2.0)
    late = 10 / PARTS + 6 / PARTS
    for messages in (1, 3):
        seconds = by_server(n, 10.0, 6.0, link, server, messages)
        assert 0 <= sent + 0.5 * messages - seconds <= late


def check_slower_way(n):
    """All send while they receive: the slower way decides, whichever it is."""
    for link in (Link(up=8.0, down=32.0), Link(up=32.0, down=8.0)):
        assert fastest("gather", n, 6.0, link) == pytest.approx(6 * (n - 1), rel=1e-15)


def check_parts(n):
    """What hides behind one gradient, of three between exchanges."""
    machine = Machine(compute=5.0, copying=50.0)
    scheme = Scheme("gather", share=0.1, overlap=0.4, local=3)
    sent = 10 * (n - 1)
    parts = 3 * 5 + max(0, sent - 0.4 * 5)
    seconds = step_seconds(scheme, n=n, size=100.0, link=UNIT, machine=machine)
    assert seconds == pytest.approx(parts / 3, rel=1e-14)


def check_fastest(n):
    """Six bytes at one a second; with latency 10 doubling has fewer rounds, with 0 all is equal."""
    for latency in (0.0, 10.0):
        link = Link.symmetric(8.0, latency)
        ways = [6 * sent + 3 * rounds * latency for sent, rounds in (bruck_way(n), ring_way(n))]
        assert fastest("two-phase", n, 6.0, link, 3) == pytest.approx(min(ways), rel=1e-14)


def bruck_way(n):
    return tuple(map(float, both(bruck(n), gathered_chunks(n))))


def ring_way(n):
    return 2 * (n - 1) / n, 2 * (n - 1)


def check_copies(n):
    """Counted chunk by chunk in units of the dense gradient."""
    letters = {"encode": 3.0, "decode": 0.5}
    assert Scheme("gather", **letters).copies(n) == 3 + sum(0.5 for _ in range(n))
    assert Scheme("ring", **letters).copies(n) == 3.5
    chunks = 3 + sum(0.5 / n for _ in range(n)) + 3 / n + sum(0.5 / n for _ in range(n))
    assert Scheme("two-phase", **letters).copies(n) == pytest.approx(chunks, rel=1e-14)


ANY, POWERS = (1, 2, 3, 4, 5, 8, 13), (1, 2, 4, 8, 16, 64)
CHECKS = {
    check_ring: ANY,
    check_gather: ANY,
    check_two_phase: ANY,
    check_gather_doubling: ANY,
    check_ring_doubling: POWERS,
    check_two_phase_doubling: POWERS,
    check_server: ANY,
    check_fastest: POWERS,
    check_slower_way: ANY,
    check_parts: ANY,
    check_copies: ANY,
}


def run_all(check):
    for n in CHECKS[check]:
        check(n)


@pytest.mark.parametrize("check", CHECKS)
def test_an_exchange_sends_what_its_simulation_does(check):
    run_all(check)


WRONG = [  # a formula, what is changed in it, and who must notice
    (collectives._ring, "2 * (n - 1) / n,", "(n - 1) / n,", check_ring),
    (collectives._ring, ", 2 * (n - 1)", ", n - 1", check_ring),
    (collectives._ring, "2 * (n - 1) / n,", "2.0 + 0 * n,", check_ring),
    (collectives._gather, "n - 1, n", "1.0, n", check_gather),
    (collectives._gather, "n - 1, n", "(n - 1) / n, n", check_gather),
    (collectives._two_phase, "2 * (n - 1) / n,", "(n - 1) / n,", check_two_phase),
    (collectives._two_phase, ", 2 * (n - 1)", ", n - 1", check_two_phase),
    (collectives._ring_doubling, ", 2 * _rounds", ", _rounds", check_ring_doubling),
    (collectives._ring_doubling, "2 * (n - 1) / n", "(n - 1) / n", check_ring_doubling),
    (collectives._gather_doubling, "n - 1,", "_rounds(n),", check_gather_doubling),
    (collectives._two_phase_doubling, "/ 2 +", "+", check_two_phase_doubling),
    (collectives._two_phase_doubling, "+ (n - 1) / n", "", check_two_phase_doubling),
    (collectives._rounds, "- 1.0", "", check_gather_doubling),
    (collectives.by_server, "receiving(n * size)", "receiving(size)", check_server),
    (collectives.by_server, "sending(n * reply)", "receiving(n * reply)", check_server),
    (collectives.by_server, "2 * link", "link", check_server),
    (collectives.by_server, "messages * 2", "2", check_server),
    (collectives.by_server, "link.sending(size)", "0", check_server),
    (collectives.by_server, "link.receiving(reply)", "0", check_server),
    (collectives.fastest, "messages * rounds", "rounds", check_fastest),
    (collectives.fastest, "np.minimum", "np.maximum", check_fastest),
    (machines.Link.seconds, "8 * size", "size", check_fastest),
    (machines.Link.seconds, "np.minimum(self.up, self.down)", "self.up", check_slower_way),
    (machines.Link.seconds, "np.minimum(self.up, self.down)", "self.down", check_slower_way),
    (schemes.step_seconds, "scheme.overlap *", "scheme.local * scheme.overlap *", check_parts),
    (schemes.step_seconds, "/ scheme.local", "/ 1", check_parts),
    (schemes.Scheme.copies, "+ n * self.decode", "+ self.decode", check_copies),
    (schemes.Scheme.copies, "1 + 1 / n", "1", check_copies),
    (schemes.Scheme.copies, "+ 2 * self.decode", "+ self.decode", check_copies),
]


@pytest.mark.parametrize(
    ("formula", "before", "after", "check"), WRONG, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_wrong_formula_is_noticed(formula, before, after, check):
    with edited(formula, before, after), pytest.raises(AssertionError):
        run_all(check)


def test_rounds_are_exact_at_powers_of_two_and_beyond():
    n = 2 ** np.arange(1, 50)
    for shift, more in ((0, 0), (1, 1)):
        _, rounds = doubling("gather", n + shift)
        np.testing.assert_array_equal(rounds, np.arange(1, 50) + more)


# -- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 98, 99, 100, 101, 1000, 10**5])
def test_harmonic_numbers_are_sums(n):
    assert harmonic(n) == pytest.approx(math.fsum(1 / k for k in range(1, n + 1)), rel=1e-14)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    ("n", "wait", "m"), [(10, 1.0, 10), (10, 0.9, 9), (7, 0.5, 4), (3, 0.1, 1)]
)
def test_waiting_is_the_mean_of_sorted_draws(n, wait, m, k):
    machine = Machine(compute=2.0, copying=1.0, spread=0.5, wait=wait)
    assert machine.awaited(n) == m
    draws = 2 * (k + 0.5 * np.random.default_rng(0).exponential(size=(k, 20_000, n)).sum(0))
    longest = np.sort(draws, axis=1)[:, m - 1]
    error = longest.std(ddof=1) / math.sqrt(longest.size)
    assert abs(machine.slowest(n, k) - longest.mean()) <= 4 * error


def test_a_share_of_workers_is_not_rounded_up():
    n = np.arange(1, 101)
    awaited = Machine(compute=1.0, copying=1.0, wait=0.07).awaited(n)
    np.testing.assert_array_equal(awaited, [-(-7 * i // 100) for i in n])


@pytest.mark.parametrize("n", [1, 2, 50, 10**5])
def test_the_integral_gives_harmonic_numbers_for_one_gradient(n):
    assert machines._late_sum(n, n, 1) == pytest.approx(harmonic(n), rel=1e-6)


def test_waiting_after_local_steps():
    """Of one worker the mean; the largest of two sums of two is 4 less int (e^-t (1+t))^2 = 5/4."""
    for k in (1, 2, 30, 300):
        assert machines._late_sum(1, 1, k) == pytest.approx(k, rel=1e-6)
    assert machines._late_sum(2, 2, 2) == pytest.approx(4 - 5 / 4, rel=1e-8)
    assert machines._late_sum(2, 1, 2) == pytest.approx(5 / 4, rel=1e-8)
    machine = Machine(compute=3.0, copying=1.0, spread=0.1)
    assert machine.slowest(2, 2) == pytest.approx(3 * (2 + 0.1 * 2.75), rel=1e-8)


def test_local_steps_even_out_stragglers():
    """Per gradient the wait of 8 workers falls, but stays above the mean."""
    machine = Machine(compute=1.0, copying=1.0, spread=1.0)
    waits = [machine.slowest(8, k) / k for k in (1, 4, 16, 64)]
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] > 2


# -- steps -----------------------------------------------------------------------------------------


def test_a_step_is_the_sum_of_its_parts():
    """n = 4, 100 bytes at 8 bits a byte: gradient 5, 3 messages of 10 bytes, 2 + 4/2 copies."""
    scheme = Scheme("gather", share=0.1, encode=2.0, decode=0.5)
    machine, link = Machine(compute=5.0, copying=50.0), Link.symmetric(8.0, latency=0.5)
    letters = {"n": 4, "size": 100.0, "link": link, "machine": machine}
    parts = 5 + 3 * 10 + 2 * 0.5 + (2 + 2) * 100 / 50
    assert step_seconds(scheme, **letters) == pytest.approx(parts, rel=1e-15)
    hiding = Scheme("gather", share=0.1, encode=2.0, decode=0.5, overlap=0.4)
    assert step_seconds(hiding, **letters) == pytest.approx(parts - 0.4 * 5, rel=1e-15)
    local = Scheme("gather", share=0.1, encode=2.0, decode=0.5, local=10)
    assert step_seconds(local, **letters) == pytest.approx((parts + 9 * 5) / 10, rel=1e-15)
    more = Scheme("gather", share=0.1, encode=2.0, decode=0.5, steps=1.5)
    seconds = seconds_to_loss(more, gradients=200, **letters)
    assert seconds == pytest.approx(1.5 * 200 * parts, rel=1e-15)


def test_no_more_is_hidden_than_is_sent():
    plain = Scheme("ring", overlap=0.5)
    machine = Machine(compute=5.0, copying=1.0)
    assert step_seconds(plain, n=2, size=1.0, link=UNIT, machine=machine) == 5


def test_who_is_not_awaited_sends_nothing():
    """Of four workers the first two: the second of four exponentials is at 1/4 + 1/3.

    Two messages are decoded.
    """
    machine = Machine(compute=1.0, copying=1.0, spread=1.0, wait=0.5)
    scheme = Scheme("gather", encode=3.0, decode=2.0)
    seconds = step_seconds(scheme, n=4, size=10.0, link=UNIT, machine=machine)
    assert seconds == pytest.approx(1 + 1 / 4 + 1 / 3 + 10 + (3 + 2 * 2) * 10, rel=1e-14)


def test_with_alike_workers_it_does_not_matter_how_many_are_awaited_for_local_steps():
    for wait in (0.5, 1.0):
        assert Machine(compute=2.0, copying=1.0, wait=wait).slowest(4, 3) == 6


def test_a_map_counts_steps_and_the_way_down():
    """Two bytes at one a second up; a server hears one from each of two workers ten times as fast.

    Its own sending is as slow as theirs.
    """
    twice, served = Scheme("ring", steps=2.0), Scheme("server")
    seconds = CostMap((Scheme("ring"), twice, served), (2,), (8.0,), 2.0, 0.0, IDLE, 10.0).compute()
    ring = 2.0 * (2 - 1) / 2 * 2
    np.testing.assert_allclose(seconds["seconds"][:, 0, 0], [ring, 2 * ring, 2 + 4], rtol=1e-14)


def test_a_server_takes_message_after_message():
    server = Link.symmetric(16.0)
    letters = {"size": 6.0, "link": UNIT, "machine": IDLE}
    seconds = step_seconds(Scheme("server", 0.5), n=[1, 4], server=server, **letters)
    np.testing.assert_allclose(seconds, [3 + 3, 2 * 4 * 3 / 2], rtol=1e-15)
    alone = step_seconds(Scheme("server", 0.5), n=4, **letters)
    assert alone == pytest.approx(2 * 4 * 3, rel=1e-15)
    far = letters | {"link": Link.symmetric(8.0, latency=0.5)}
    cut = step_seconds(Scheme("server", 0.5, messages=7), n=4, **far)
    assert cut == pytest.approx(2 * 4 * 3 + 7 * 2 * 0.5, rel=1e-15)


EVERY = [
    Scheme("ring", overlap=0.3),
    Scheme("gather", 1 / 32, encode=5.0, decode=1.0),
    Scheme("two-phase", 1 / 32, encode=5.0, decode=1.0),
    Scheme("ring", 0.01, encode=7.0, messages=2, local=3),
    Scheme("server", 0.1, encode=1.0, decode=1.0),
]


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: scheme.exchange)
def test_arrays_are_many_numbers(scheme):
    n, rates = np.array([1, 2, 3, 100, 10**5]), np.array([1e7, 1e9, 4e11])
    machine = Machine(compute=0.1, copying=1e10, spread=0.2)
    link = Link.symmetric(rates, latency=1e-3)
    grid = step_seconds(scheme, n=n[:, None], size=1e8, link=link, machine=machine)
    for i, j in np.ndindex(grid.shape):
        one = Link.symmetric(float(rates[j]), latency=1e-3)
        alone = step_seconds(scheme, n=int(n[i]), size=1e8, link=one, machine=machine)
        assert grid[i, j] == pytest.approx(alone, rel=1e-7)  # the integral has another grid


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: scheme.exchange)
def test_units_do_not_matter(scheme):
    """Twice the bytes at twice the rates take as long, and all at half the speed twice as long."""

    def seconds(size, speed, latency):
        machine = Machine(compute=0.1 / speed * size, copying=1e8 * speed)
        link = Link.symmetric(1e8 * speed, latency=latency)
        return step_seconds(scheme, n=6, size=1e6 * size, link=link, machine=machine)

    assert seconds(2, 2, 1e-3) == pytest.approx(seconds(1, 1, 1e-3), rel=1e-12)
    assert seconds(1, 0.5, 2e-3) == pytest.approx(2 * seconds(1, 1, 1e-3), rel=1e-12)


# -- the table -------------------------------------------------------------------------------------


def test_the_fit_gives_back_what_it_is_made_of():
    """Work with two workers at 1 Gbit/s is as measured, but of two phases, which are not fitted."""
    fitted = measured.calibrate()
    for name, seconds in fitted.predicted().items():
        if name not in ("plain", "sign, two-phase"):
            assert seconds[0, 0] == pytest.approx(measured.SECONDS[name][0][0], rel=1e-12)
    plain = fitted.predicted()["plain"][:, 0] / [row[0] for row in measured.SECONDS["plain"]]
    assert np.prod(plain) == pytest.approx(1, rel=1e-12)


def test_sign_takes_the_copies_that_were_counted():
    scheme = measured.calibrate().schemes["sign, gather"]
    assert [scheme.copies(n) for n in measured.WORKERS] == pytest.approx(measured.SIGN_COPIES)


def test_what_ddp_hid_is_what_the_step_lacks():
    plain = Scheme("ring", overlap=measured.hidden_share())
    machine = Machine(compute=measured.ALONE, copying=1.0)
    wire = measured.SECONDS["plain"][0][0]
    link = Link.symmetric(8 * measured.SIZE / wire)
    seconds = step_seconds(plain, n=2, size=measured.SIZE, link=link, machine=machine)
    assert seconds == pytest.approx(measured.WITH_PLAIN, rel=1e-12)


# -- refusals --------------------------------------------------------------------------------------

REFUSED = [
    (lambda: Link.symmetric(0), r"up \(bits per second\) must be positive and finite, not 0"),
    (lambda: Link(1e9, -1.0), r"down \(bits per second\) must be .*, not -1"),
    (lambda: Link.symmetric([1e9, math.nan]), r"up .*, not nan"),
    (lambda: Link.symmetric(1e9, -1e-3), r"latency \(seconds\) must be finite .*, not -0.001"),
    (lambda: Machine(compute=-1.0, copying=1.0), "compute must be finite and at least 0, not -1"),
    (lambda: Machine(compute=1.0, copying=0.0), "copying must be positive and finite, not 0"),
    (lambda: Machine(1.0, 1.0, spread=math.inf), "spread must be finite and at least 0, not inf"),
    (lambda: Machine(1.0, 1.0, wait=0.0), r"wait must be in \(0, 1\], not 0"),
    (lambda: Machine(1.0, 1.0, wait=1.5), r"wait must be in \(0, 1\], not 1.5"),
    (lambda: Scheme("tree"), "exchange must be ring, gather, two-phase or server, not 'tree'"),
    (lambda: Scheme("ring", 0.0), "share must be positive and finite, not 0"),
    (lambda: Scheme("ring", encode=-2.0), "encode must be finite and at least 0, not -2"),
    (lambda: Scheme("ring", overlap=1.5), r"overlap must be in \[0, 1\], not 1.5"),
    (lambda: Scheme("ring", local=0), "local must be a whole number 1, 2, ..., not 0"),
    (lambda: Scheme("ring", messages=1.5), "messages must be a whole number 1, 2, ..., not 1.5"),
    (lambda: Scheme("ring", steps=-1.0), "steps must be positive and finite, not -1"),
    (lambda: around("ring", 0), "n must be 1, 2, 3, ..., not 0"),
    (lambda: around("ring", [2, 2.5]), "n must be 1, 2, 3, ..., not 2.5"),
    (lambda: around("server", 2), "exchange must be one of ring, gather, two-phase, not 'server'"),
    (lambda: fastest("ring", 2, -1.0, UNIT), r"size \(bytes\) must be finite .*, not -1"),
    (lambda: by_server(2, 1.0, -1.0, UNIT), r"reply \(bytes\) must be finite .*, not -1"),
    (
        lambda: step_seconds(Scheme("ring"), n=2, size=0, link=UNIT, machine=IDLE),
        r"size \(bytes\) must be positive and finite, not 0",
    ),
    (
        lambda: seconds_to_loss(Scheme("ring"), gradients=0, n=2, size=1, link=UNIT, machine=IDLE),
        "gradients must be positive and finite, not 0",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[row[1] for row in REFUSED])
def test_a_bad_number_is_refused_with_its_value(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("rate", ["fast", None, [[1.0], [1.0, 2.0]], True])
def test_what_is_no_number_is_refused(rate):
    with pytest.raises(TypeError, match="must be a number or an array of numbers, not"):
        Link.symmetric(rate)


@pytest.mark.parametrize("name", ["collectives", "machines", "maps", "measured", "schemes"])
def test_the_examples_are_right(name):
    module = importlib.import_module(f"efsgd.cost.{name}")
    assert doctest.testmod(module, raise_on_error=True).failed == 0
