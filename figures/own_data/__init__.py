"""The command ``convex --data``: the methods on data of the user's own."""

__all__: list[str] = []
