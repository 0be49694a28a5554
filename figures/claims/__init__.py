"""Claims and their outcome: judged, printed, and gathered in verdicts.json."""

__all__: list[str] = []
