"""What all pictures share: matplotlib without settings, names and colours, ticks."""

__all__: list[str] = []
