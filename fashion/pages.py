"""HTML pages that need no other file, from the templates of a package; all extend ``fashion/templates/page.html``."""

from typing import Any

import jinja2


def rendered(package: str, template: str, **values: Any) -> str:
    """Fill in a template; a value that it asks for and is not given is an error, and text is never markup.

    Args:
        package: Whose folder ``templates`` holds it.
        template: The name of its file.
        **values: What it shows.
    """
    places = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("fashion")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return places.get_template(template).render(**values)
