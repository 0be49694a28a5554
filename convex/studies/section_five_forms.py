"""What happens on the least squares of section 5, in closed form (all derived here).

n training rows, k of them with y = +1 and m = n - k < k with y = -1; s is sign(X'y): +1 on columns
1, 2, 3 and on the own column of a row y = +1, -1 on the five of a row y = -1, and 0 on the columns
that no training row touches. Xs = 4y. So at w = a s, which is where w_0 = 0 lies, the gradient is
(4a - 1) X'y/n: its sign is +-s, and ternary sign methods never leave the line span(s), whatever
their step sizes, as in Theorem I. They fit the training rows at a = 1/4. A test row is predicted
as 3a if y = +1 and as a, wrongly, if y = -1, as its own columns have weight 0. With sign(0) = +1
scaled signs give all columns that no training row touches -a, as long as a grows: then the
predictions are 2a and -4a. ``negative`` is the share of y = -1 among the test rows.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.wilson_counts import dual

FITS = 0.25  # a, where the training rows are fitted


def least_signs_loss(negative: Array) -> Array:
    """The least test loss at w = a s over all a, below which no ternary sign method comes.

    It is that of (1 - negative) (3a - 1)^2 + negative (a + 1)^2.
    """
    loss: Array = 16 * negative * (1 - negative) / (9 - 8 * negative)
    return loss


def scaled_along(lr: Array, steps: int, n: int) -> Array:
    """a after ``steps`` steps of scaled signSGD with sign(0) = 0, for each step size.

    |X'y|_1 = n + 2 (k - m) + k + 5m = 4n, so a step multiplies a - 1/4 by 1 - 16 lr/d, d = 12n.
    """
    a: Array = FITS * (1 - (1 - 16 * np.asarray(lr) / (12 * n)) ** steps)
    return a


def unscaled_along(lr: Fraction, steps: int, momentum: Fraction, undecayed: bool) -> Array:
    """a_t of signSGDm with sign(0) = 0 in exact arithmetic, t = 0, ..., steps: (steps + 1,).

    The buffer is b X'y/n, as the gradients are multiples of X'y/n: b += momentum (4a - 1) or
    b = momentum b + 4a - 1. That of the undecayed buffer is exactly 0 at each turn for some lr.
    """
    a, b, path = Fraction(0), Fraction(0), [0.0]
    for _ in range(steps):
        g = 4 * a - 1
        b = b + momentum * g if undecayed else momentum * b + g
        a -= lr * ((b > 0) - (b < 0))
        path.append(float(a))
    return np.array(path)


def least_norm(k: Array, n: int) -> tuple[Array, Array, Array]:
    """X^+ y, where gradient descent from 0 ends, for any k: its predictions for y = +1 and y = -1,
    and |X^+ y|^2.

    With the r of :func:`dual`, X^+ y = X'r; predictions of test rows are 1 - r_1 and -1 - 5 r_2.
    """
    r_1, r_2 = dual(k, n)
    return 1 - r_1, -1 - 5 * r_2, k * r_1 - (n - k) * r_2


def from_least_norm(a: Array, k: Array, n: int) -> Array:
    """|a s - X^+ y|, as <s, X^+ y> = 4 <y, r> = 4 |X^+ y|^2."""
    _, _, square = least_norm(k, n)
    distance: Array = np.sqrt(a**2 * (3 + k + 5 * (n - k)) - (8 * a - 1) * square)
    return distance


def from_span(a: Array, k: Array, n: int) -> Array:
    """The distance of a s to the span of the gradients, which is span(X'y): <s, X'y> = 4n."""
    m = n - k
    square = k * (3 * k + 1) + m * (3 * m + 5) - 2 * k * m  # |X'y|^2
    distance: Array = a * np.sqrt(3 + k + 5 * m - 16 * n**2 / square)
    return distance
