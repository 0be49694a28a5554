"""The command ``bounds`` and the delta zoo."""

__all__: list[str] = []
