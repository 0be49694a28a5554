"""What a way to train sends and computes, and the seconds of its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.checks import whole
from efsgd.cost import numbers
from efsgd.cost.collectives import Exchange, by_server, fastest
from efsgd.cost.machines import Link, Machine
from efsgd.cost.numbers import Value


@dataclass(frozen=True)
class Scheme:
    """A method as far as time goes; each field a number.

    =========  ================================================================================
    exchange   "ring", "gather", "two-phase" or "server", see :mod:`efsgd.cost.collectives`
    share      bytes of one message over those of the dense gradient
    encode     work of making a message, in copies of the dense gradient (memcpy)
    decode     work of adding one message to a dense vector, in the same unit
    messages   collectives that one exchange takes, each with latencies of its own
    overlap    share of the gradient's seconds that can hide the exchange (buckets of DDP)
    local      gradients between exchanges: local steps
    steps      gradients needed over those of plain SGD, to the same loss
    source     where ``steps`` is from
    =========  ================================================================================

    ValueError for a number outside its domain.

    >>> print(Scheme("gather", share=1 / 32, encode=5.0, decode=1.0).copies(4))
    9.0
    """

    exchange: Exchange
    share: float = 1.0
    encode: float = 0.0
    decode: float = 0.0
    messages: int = 1
    overlap: float = 0.0
    local: int = 1
    steps: float = 1.0
    source: str = "assumed"

    def __post_init__(self) -> None:
        """Refuse what is no exchange, no share and no count."""
        if self.exchange not in ("ring", "gather", "two-phase", "server"):
            raise ValueError(
                f"exchange must be ring, gather, two-phase or server, not {self.exchange!r}"
            )
        for name in ("share", "steps"):
            object.__setattr__(self, name, numbers.positive(name, getattr(self, name)))
        for name in ("encode", "decode"):
            object.__setattr__(self, name, numbers.from_zero(name, getattr(self, name)))
        for name in ("messages", "local"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        object.__setattr__(self, "overlap", numbers.share("overlap", self.overlap, with_0=True))

    def copies(self, n: Value) -> Value:
        """Work of one exchange on one worker, in copies of the dense gradient (derived here).

        A message that adds is decoded once, after the sum. Gathered, n messages are, one's own
        among them. In two phases n chunks of 1/n are, twice, and the mean of a chunk is made into
        a message once more. A server's reply is decoded; what the server does is not counted here.

        >>> print(Scheme("two-phase", 1 / 32, encode=6.0, decode=1.0).copies(3))  # 6 + 6/3 + 1 + 1
        10.0
        """
        n = numbers.count("n", n)
        if self.exchange == "gather":
            return self.encode + n * self.decode
        if self.exchange == "two-phase":
            return self.encode * (1 + 1 / n) + 2 * self.decode
        return self.encode + self.decode * np.ones_like(n)[()]

    def exchange_seconds(
        self, n: Value, size: Value, link: Link, server: Link | None = None
    ) -> Value:
        """On the wire, nothing hidden; ``size`` is that of the dense gradient in bytes.

        A server's reply is as long as a message.

        >>> print(Scheme("gather", share=1 / 32).exchange_seconds(3, 32e6, Link.symmetric(1e6)))
        16.0
        """
        message = self.share * size
        if self.exchange == "server":
            return by_server(n, message, message, link, server, self.messages)
        return fastest(self.exchange, n, message, link, self.messages)


def step_seconds(
    scheme: Scheme,
    *,
    n: Value,
    size: Value,
    link: Link,
    machine: Machine,
    server: Link | None = None,
) -> Value:
    """Seconds per gradient (a step over ``local``): computing, waiting, compressing, sending.

    ``size`` is the dense gradient in bytes; n, size and the numbers of the link broadcast. An
    exchange begins when all awaited workers have their gradients; ``overlap`` times the compute of
    one gradient hides it. The server's own decoding is not counted.

    >>> machine = Machine(compute=0.1, copying=1e9)
    >>> plain, sign = Scheme("ring"), Scheme("gather", 1 / 32, encode=5.0, decode=1.0)
    >>> link = Link.symmetric([1e8, 1e9])  # bits per second
    >>> step_seconds(plain, n=2, size=1e7, link=link, machine=machine)
    array([0.9 , 0.18])
    >>> step_seconds(sign, n=2, size=1e7, link=link, machine=machine)
    array([0.195 , 0.1725])
    """
    size = numbers.positive("size (bytes)", size)
    waiting = machine.slowest(n, scheme.local)
    present = machine.awaited(n)
    wire = scheme.exchange_seconds(present, size, link, server)
    visible = np.maximum(0.0, wire - scheme.overlap * machine.compute)
    seconds: Value = waiting + visible + scheme.copies(present) * size / machine.copying
    return seconds / scheme.local


def seconds_to_loss(
    scheme: Scheme,
    *,
    gradients: Value,
    n: Value,
    size: Value,
    link: Link,
    machine: Machine,
    server: Link | None = None,
) -> Value:
    """Seconds to the loss that plain SGD reaches after ``gradients`` steps: its steps times theirs.

    >>> slow = Scheme("ring", steps=2.0)
    >>> machine = Machine(compute=0.1, copying=1e9)
    >>> around = {"n": 1, "size": 1e7, "link": Link.symmetric(1e9), "machine": machine}
    >>> print(seconds_to_loss(slow, gradients=100, **around))
    20.0
    """
    gradients = numbers.positive("gradients", gradients)
    return (
        gradients
        * scheme.steps
        * step_seconds(scheme, n=n, size=size, link=link, machine=machine, server=server)
    )
