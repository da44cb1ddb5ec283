"""Numbers as a page or a figure shows them."""

MINUS = "\u2212"


def typeset(value: float, form: str) -> str:
    """Format a number, with the minus sign of typography in the place of a hyphen.

    Only for numbers: a hyphen in a name or a text is one.

    Args:
        value: the number.
        form: as of `format`, such as "+.2f".
    """
    return format(value, form).replace("-", MINUS)
