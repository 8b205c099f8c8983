"""Self-contained HTML reports, made from templates that extend ``fashion/templates/page.html``."""

from typing import Any

import jinja2


def render_report(package: str, template: str, **values: Any) -> str:
    """Fill in a template; text in values is escaped, and a missing value is an error.

    Args:
        package: The package whose folder ``templates`` contains the template.
        template: The template's file name.
        **values: What it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("fashion")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
