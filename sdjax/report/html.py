"""Pages from the templates in `templates/`."""

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("sdjax.report"),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


def render(template: str, **values: object) -> str:
    """Return a page that needs no other file, no network and no script.

    Args:
        template: its name.
        values: what it shows; text is escaped, `Markup` is not.
    """
    return _ENVIRONMENT.get_template(template).render(**values)
