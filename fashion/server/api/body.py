"""The JSON bodies of responses, as pydantic models: views return them, and ``openapi.py`` describes them."""

from typing import Annotated

import pydantic
from flask import Response, jsonify
from pydantic import Field

from fashion.server.service.served_model import NAME

ModelName = Annotated[str, Field(json_schema_extra={"const": NAME})]


class Body(pydantic.BaseModel):
    """A JSON object; members that are None are left out."""

    def response(self) -> Response:
        """Return the object as a response."""
        return jsonify(self.model_dump(exclude_none=True))
