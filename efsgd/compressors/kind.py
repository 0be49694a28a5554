"""What kind of compressor one is: whether it draws, starts warm, or couples workers."""

from __future__ import annotations


class Kind:
    """The kind of a compressor; a subclass may also give each as a class attribute."""

    @property
    def random(self) -> bool:
        """Whether it draws randomness."""
        return False

    @property
    def warm(self) -> bool:
        """Whether it starts warm: ``next_state`` returns what the next ``draw`` is to be given."""
        return False

    @property
    def joint(self) -> bool:
        """Whether the workers of a step act together: axis -2 of (R, n, d)."""
        return False

    @property
    def fixed_size(self) -> bool:
        """Whether len(encode(x)) depends on d and the dtype only."""
        return False

    @property
    def _may_overflow(self) -> bool:
        """Whether fields that are finite may stand for numbers beyond the dtype."""
        return False
