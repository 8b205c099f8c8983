"""The JSON bodies of responses, as pydantic models: views return them, and ``openapi.py`` describes them."""

import pydantic
from flask import Response
from typing_extensions import TypeAliasType

ModelName = TypeAliasType("ModelName", str)  # a schema with a name, to which openapi.py adds that of the served model


class Body(pydantic.BaseModel):
    """A JSON object; members that are None are left out."""

    def response(self) -> Response:
        """Return the object as a response."""
        return Response(f"{self.model_dump_json(exclude_none=True)}\n", mimetype="application/json")
