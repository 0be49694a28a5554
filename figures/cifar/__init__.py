"""The commands ``cifar`` and ``tune``: the paper's deep experiments."""

__all__: list[str] = []
