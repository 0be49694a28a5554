"""Pictures of saved results and the ``efsgd-figures`` command. matplotlib is imported late."""

__all__: list[str] = []
