"""What the tests of deep/data ask of error messages."""

import pytest


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    """The message, which must be a single line."""
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message
