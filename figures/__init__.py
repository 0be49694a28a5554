"""Pictures of saved results and the ``efsgd-figures`` command. matplotlib is imported late."""
