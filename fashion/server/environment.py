"""The server's environment variables: which there are, what each sets, and secrets that are in files.

Containers and platforms configure a program by its environment. ``SETTINGS`` is the only place that says which variable
sets which key of the configuration.
"""

import difflib
import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

from fashion.errors import InputError
from fashion.server.settings import Platform, Settings
from fashion.server.storage.accounts import DEFAULT_NAME, check_password

PREFIX, FILE = "FASHION_", "_FILE"
# Set by Vertex AI, and read with server.platform=vertex only.
VERTEX_PORT, VERTEX_HEALTH_ROUTE, VERTEX_PREDICT_ROUTE = "AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"

# Each variable's key. Of two that set the same key the later one wins. Cloud Run, Heroku and App Runner set PORT.
SETTINGS = {
    "PORT": "server.port",
    VERTEX_PORT: "server.port",
    f"{PREFIX}ARTIFACT": "artifact",
    f"{PREFIX}BACKEND": "backend",
    **{f"{PREFIX}{name.upper()}": f"server.{name}" for name in Settings.model_fields},
}
DATABASE_URL, REDIS_URL, ADMIN_PASSWORD = f"{PREFIX}DATABASE_URL", f"{PREFIX}REDIS_URL", f"{PREFIX}ADMIN_PASSWORD"
# Each may also be the content of a file, named by the variable with _FILE appended.
SECRETS = (DATABASE_URL, REDIS_URL, ADMIN_PASSWORD)
KNOWN = {*SETTINGS, *SECRETS, *(name + FILE for name in SECRETS), f"{PREFIX}DEBUG"}

# What Kubernetes sets in every container of a namespace that has a Service whose name begins with "fashion":
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
SERVICE_LINK = re.compile(r"FASHION_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
ROUTE = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")  # neither Flask's <placeholders> nor encoded characters


class PlatformRoutes(NamedTuple):
    """The paths that a platform asks: for health by GET, for predictions by POST."""

    health: str
    predict: str


class FirstPassword(NamedTuple):
    """The password with which the first account is created, and the variable that gave it."""

    variable: str
    password: str


def variables(platform: str | None = None) -> list[str]:
    """Return the variables that are set and set a key, in the order in which they apply.

    Args:
        platform: The platform that the server is for; those of another are ignored.

    Raises:
        InputError: If a variable of this program's prefix does not exist, or is set beside its file's.
    """
    found = [name for name in os.environ if name.startswith(PREFIX) and not _is_service_link(name)]
    for name in sorted(found):
        if name not in KNOWN:
            close = difflib.get_close_matches(name, sorted(KNOWN), n=1)
            hint = f"; did you mean {close[0]}?" if close else "; docs/deploying.md lists all"
            raise InputError(f"{name}: there is no such environment variable of this program{hint}")
    present = (_present(name) for name in SETTINGS if name != VERTEX_PORT or platform == "vertex")
    return [name for name in present if name is not None]


def setting_of(variable: str) -> str:
    """Return the key that a variable sets, itself or by its file."""
    return SETTINGS[variable if variable in SETTINGS else variable.removesuffix(FILE)]


def variable_of(key: str) -> str:
    """Return the variable that sets a key and wins over others that do."""
    return [variable for variable, set_key in SETTINGS.items() if set_key == key][-1]


def text_of(variable: str) -> str:
    """Return the value of a variable that is set, or the content of the file that it names.

    Raises:
        InputError: If it is empty, or the file is missing, unreadable or not text.
    """
    text = os.environ[variable]
    if text and variable.endswith(FILE):
        text = _content(variable, Path(text))
    if not text:
        raise InputError(f"{variable}: is empty; give it a value, or unset it")
    return text


def database_url() -> str | None:
    """Return the database that the environment names, if it does.

    Raises:
        InputError: If its variable is wrong.
    """
    variable = _present(DATABASE_URL)
    return None if variable is None else text_of(variable)


def platform_routes(platform: Platform | None) -> PlatformRoutes | None:
    """Return the paths that a platform asks; None without one.

    SageMaker's are fixed, Vertex AI's are in the environment:

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
    https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements

    Raises:
        InputError: If a variable of Vertex AI is missing, or is not a path.
    """
    if platform is None:
        return None
    if platform == "sagemaker":
        return PlatformRoutes("/ping", "/invocations")
    return PlatformRoutes(_route(VERTEX_HEALTH_ROUTE), _route(VERTEX_PREDICT_ROUTE))


def first_password() -> FirstPassword | None:
    """Return the password of the first account, if the environment gives one.

    Raises:
        InputError: If its variable is wrong, or no account may have such a password.
    """
    variable = _present(ADMIN_PASSWORD)
    if variable is None:
        return None
    password = text_of(variable)
    try:
        check_password(password, DEFAULT_NAME)
    except InputError as error:
        raise InputError(f"{variable}: {str(error).removeprefix('password: ')}") from None
    return FirstPassword(variable, password)


def _route(variable: str) -> str:
    route = os.environ.get(variable)
    if route is None or not ROUTE.fullmatch(route):
        got = "is not set" if route is None else f"got {route!r}"
        raise InputError(f"{variable}: {got}, expected a path such as /v1/predict; Vertex AI sets it")
    return route


def _present(name: str) -> str | None:
    """Return which of a variable and that of its file is set.

    Raises:
        InputError: If both are.
    """
    names = [name, name + FILE] if name in SECRETS else [name]
    present = [each for each in names if each in os.environ and not _is_service_link(each)]
    if len(present) > 1:
        raise InputError(f"{' and '.join(present)}: both are set; unset one of them")
    return present[0] if present else None


def _is_service_link(name: str) -> bool:
    is_url = name.endswith("_PORT") and SERVICE_URL.match(os.environ[name]) is not None
    return is_url or SERVICE_LINK.fullmatch(name) is not None


@functools.cache  # a pipe can be read only once
def _content(variable: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{variable}: the file {path} is not text in UTF-8") from None
    except OSError as error:
        raise InputError(f"{variable}: the file {path} cannot be read ({error.strerror})") from None
    text = text.removesuffix("\n")
    if not text:
        raise InputError(f"{variable}: the file {path} is empty; write the secret into it")
    return text
