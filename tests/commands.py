"""How a command ends, for the tests that call efsgd-figures."""

from click.testing import Result


def refused(done: Result, *words: str, begun: bool = False) -> bool:
    """That a command ended with exit code 2 and one sentence on stderr that holds these words.

    Only one that had ``begun`` its work may have printed something.
    """
    assert done.exit_code == 2, done.output
    assert begun or done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    return True
