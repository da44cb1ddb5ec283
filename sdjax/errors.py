"""What went wrong, in one line that names the value, the place and the fix."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """The user can mend this: the message names the value, the place and the fix."""


def run(main: Callable[[], int | None]) -> int:
    """Run a command; report what a user can mend in one line on standard error.

    Args:
        main: does the work and returns an exit status (None counts as 0).

    Returns:
        The exit status: 2 after an `InputError`, 1 after an `OSError` (a full disk,
        a missing permission), 130 after Ctrl-C. Anything else is a bug of ours and
        keeps its traceback.
    """
    try:
        return main() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {error.filename or ''} {error.strerror or error}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
