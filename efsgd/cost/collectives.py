"""Seconds of an exchange between n workers: four topologies, and rounds that go round or double.

``b`` is the bytes of one worker's message for its whole gradient, r the rate of its link. In each
round every worker sends one part and receives one, so a round takes 8 part/r + latency. A ring has
the fewest bytes and many rounds, doubling has few rounds; ``fastest`` takes whichever is faster.

========== ============================================= ===========================================
exchange   ring: bytes that a worker sends; rounds       doubling: bytes; rounds, l = ceil(log2 n)
========== ============================================= ===========================================
ring       2 (n-1)/n b; 2 (n-1)                          2 (n-1)/n b; 2 l
gather     (n-1) b; n-1                                  (n-1) b; l
two-phase  2 (n-1)/n b; 2 (n-1)                          (l/2 + (n-1)/n) b; 2 l
server     b, its reply besides; 2                       the same
========== ============================================= ===========================================

Derived here. In ``ring`` messages add (dense vectors, low rank, shared rand-k): each chunk of b/n
goes round once to be summed (n-1 rounds), and once more to reach all. In ``gather``, what does not
add: each of the n-1 foreign messages passes every worker's link. In ``two-phase`` chunk j of every
message goes to worker j (n-1 parts of b/n), which averages, compresses again and sends to all (n-1
more). With doubling, partners are at distances 1, 2, 4, ...: sums halve, what is gathered doubles,
but of chunks that do not add half a message is on its way in each of l rounds (Bruck's algorithm).
It is stated for powers of two; other n are charged the rounds of the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np

from efsgd.cost import numbers
from efsgd.cost.machines import Link
from efsgd.cost.numbers import Value

Exchange: TypeAlias = Literal["ring", "gather", "two-phase", "server"]
Traffic: TypeAlias = tuple[Value, Value]  # bytes that a worker sends over b, and rounds


def around(exchange: Exchange, n: Value) -> Traffic:
    """(bytes that a worker sends over b, rounds) of an exchange on a ring of n workers.

    ValueError for no exchange between equals.

    >>> print(*around("gather", 4))
    3.0 3.0
    """
    return _known(exchange, _AROUND)(numbers.count("n", n))


def doubling(exchange: Exchange, n: Value) -> Traffic:
    """The same where partners are at distances 1, 2, 4, ...

    >>> print(*doubling("gather", 4))
    3.0 2.0
    """
    return _known(exchange, _DOUBLING)(numbers.count("n", n))


def _ring(n: Value) -> Traffic:
    return 2 * (n - 1) / n, 2 * (n - 1)


def _gather(n: Value) -> Traffic:
    return n - 1, n - 1


def _two_phase(n: Value) -> Traffic:
    return 2 * (n - 1) / n, 2 * (n - 1)


def _ring_doubling(n: Value) -> Traffic:
    return 2 * (n - 1) / n, 2 * _rounds(n)


def _gather_doubling(n: Value) -> Traffic:
    return n - 1, _rounds(n)


def _two_phase_doubling(n: Value) -> Traffic:
    return _rounds(n) / 2 + (n - 1) / n, 2 * _rounds(n)


def _rounds(n: Value) -> Value:
    """ceil(log2 n), exactly: frexp gives the power of two above n - 1."""
    rounds: Value = np.frexp(np.asarray(n) - 1.0)[1].astype(np.float64)[()]
    return rounds


_AROUND = {"ring": _ring, "gather": _gather, "two-phase": _two_phase}
_DOUBLING = {
    "ring": _ring_doubling,
    "gather": _gather_doubling,
    "two-phase": _two_phase_doubling,
}


def fastest(exchange: Exchange, n: Value, size: Value, link: Link, messages: int = 1) -> Value:
    """Seconds of one exchange between equals, over a ring or by doubling, whichever is faster.

    ``size`` is b in bytes. ``messages`` > 1 cut it: each of them has all the rounds to itself.

    >>> print(fastest("ring", 2, 125e6, Link.symmetric(1e9, latency=0.01)))  # 1 s, 2 rounds
    1.02
    """
    numbers.from_zero("size (bytes)", size)
    ways = []
    for traffic in (around, doubling):
        sent, rounds = traffic(exchange, n)
        ways.append(link.seconds(sent * size) + messages * rounds * link.latency)
    seconds: Value = np.minimum(ways[0], ways[1])
    return seconds


def by_server(
    n: Value,
    size: Value,
    reply: Value,
    link: Link,
    server: Link | None = None,
    messages: int = 1,
) -> Value:
    """Seconds until n messages of ``size`` bytes have come in and n replies have gone out.

    The server's link, by default a worker's, takes what all of them send in turn, byte by byte;
    where it is so fast that a worker's own link takes longer, that counts (derived here). The
    server's own work takes no time. ``messages`` > 1 cut a message: each of them has both latencies
    to itself. For n = 1 too: the server is no worker.

    >>> print(by_server(8, 125e6, 0.0, Link.symmetric(1e9), Link.symmetric(4e9)))
    2.0
    """
    n = numbers.count("n", n)
    numbers.from_zero("size (bytes)", size)
    numbers.from_zero("reply (bytes)", reply)
    server = link if server is None else server
    arriving = np.maximum(server.receiving(n * size), link.sending(size))
    leaving = np.maximum(server.sending(n * reply), link.receiving(reply))
    return arriving + leaving + messages * 2 * link.latency


def _known(
    exchange: str, formulas: Mapping[str, Callable[[Value], Traffic]]
) -> Callable[[Value], Traffic]:
    if exchange not in formulas:
        raise ValueError(f"exchange must be one of {', '.join(formulas)}, not {exchange!r}")
    return formulas[exchange]
