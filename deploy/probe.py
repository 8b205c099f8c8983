"""The image's health check: whether the server in this container answers; exit status 0 or 1.

Only the standard library, since a probe runs every few seconds.
"""

import http.client
import os
import sys


def port() -> int:
    """Return the port that the environment sets, as fashion/server/environment.py reads it."""
    names = ["PORT", "FASHION_PORT"]
    if os.environ.get("FASHION_PLATFORM") == "vertex":
        names.insert(1, "AIP_HTTP_PORT")
    values = [os.environ.get(name, "") for name in reversed(names)]
    return next(int(value) for value in values if value.isdecimal())  # FASHION_PORT may be Kubernetes's tcp://...


def main() -> int:
    """Ask the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=3)
    try:
        connection.request("GET", "/livez")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
