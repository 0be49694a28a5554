"""Work on several processes that may be stopped or die at any moment."""

__all__: list[str] = []
