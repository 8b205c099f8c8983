"""The page for people."""

from flask import Blueprint, render_template

blueprint = Blueprint("web", __name__)


@blueprint.get("/")
def index() -> str:
    """Show the form."""
    return render_template("index.html")
