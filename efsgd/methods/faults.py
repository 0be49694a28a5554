"""What goes wrong between workers and server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Faults:
    """What goes wrong on the way to the server, drawn afresh at each step.

    A message is lost with probability ``loss``, and its sender learns of it: EFSGD keeps all of it
    in e, and estimates h stay as they are on both sides. A worker stays silent with probability
    ``silence``, as one that is too slow: it takes no part in the step, and its memory waits. The
    server divides by the number of workers that it asked, so that what does not come counts as 0.
    What the server sends is never lost, and all workers receive it. With local steps silence is
    drawn once a round, and loss at each exchange.
    """

    loss: float = 0.0
    silence: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no probability below 1."""
        for name in ("loss", "silence"):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or not 0 <= value < 1:
                raise ValueError(f"{name} must be a probability in [0, 1), not {value}")
