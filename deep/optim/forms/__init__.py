"""The forms of a step that are faster than the loop, equal to it, and the choice among them."""

__all__: list[str] = []
