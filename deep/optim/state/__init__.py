"""Groups and state of an optimiser: checked, saved and loaded."""

__all__: list[str] = []
