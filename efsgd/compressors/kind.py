"""What kind of compressor one is: whether it draws, starts warm, or couples workers."""

from __future__ import annotations


class Kind:
    """The kind of a compressor; a subclass may also give each as a class attribute."""

    @property
    def random(self) -> bool:
        """Whether it draws randomness."""
        return False

    @property
    def draws_in_order(self) -> bool:
        """Whether what is drawn for some vectors and then for others is one draw for all of them.

        A random compressor that says so lets the workers of a large team step some at a time.
        """
        return not self.random

    @property
    def warm(self) -> bool:
        """Whether it starts warm: ``next_state`` returns what the next ``draw`` is to be given."""
        return False

    @property
    def joint(self) -> bool:
        """Whether the workers of a step act together: axis -2 of (R, n, d)."""
        return False

    @property
    def adds(self) -> bool:
        """Whether their messages add: one as long as each of theirs says the mean of all."""
        return False

    @property
    def fixed_size(self) -> bool:
        """Whether len(encode(x)) depends on d and the dtype only."""
        return False

    @property
    def _may_overflow(self) -> bool:
        """Whether fields that are finite may stand for numbers beyond the dtype."""
        return False
