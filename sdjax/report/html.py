"""HTML pages from the templates in `templates/`."""

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("sdjax.report"),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


def render(template: str, **values: object) -> str:
    """Return a self-contained page: it loads no other file and no script.

    Args:
        template: file name of the template.
        values: variables of the template; strings are escaped, `Markup` is not.
    """
    return _ENVIRONMENT.get_template(template).render(**values)
