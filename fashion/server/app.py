"""The application: settings in, everything wired, WSGI out."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from fashion.server import api, auth, health, monitoring, openapi, problems, security, uploads, v2, web
from fashion.server.accounts import Accounts
from fashion.server.model import ServedModel
from fashion.server.request_log import RequestLog
from fashion.server.settings import MOST_BODY_BYTES, MOST_FORM_PARTS, Settings
from fashion.server.work import WorkQueue


def create_app(settings: Settings, model: ServedModel, accounts: Accounts, request_log: RequestLog) -> Flask:
    """Make the application of one process.

    Args:
        settings: What was set.
        model: Loaded already, or being loaded.
        accounts: Who may use it.
        request_log: Where requests are kept.

    Raises:
        FashionError: When failed log-ins cannot be counted where the settings say.
    """
    app = Flask(__name__)
    app.request_class = uploads.InMemoryRequest
    app.config.update(
        MAX_CONTENT_LENGTH=MOST_BODY_BYTES,
        MAX_FORM_PARTS=MOST_FORM_PARTS,
        # Of text fields, which nothing reads. Werkzeug holds what it reads at a time against it too, 64 KiB and a rest:
        # no more than that refuses large pictures by chance.
        MAX_FORM_MEMORY_SIZE=128 * 1024,
        TRUSTED_HOSTS=settings.allowed_hosts or None,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    metrics = monitoring.Metrics()
    app.extensions["model"] = model
    app.extensions["work"] = WorkQueue(settings.threads, settings.queue, metrics)
    monitoring.init_app(app, monitoring.Monitor(metrics, request_log))
    security.init_app(app)
    problems.init_app(app)
    auth.init_app(app, auth.Authentication(accounts, auth.LoginLimits(settings.redis_url), metrics))
    for part in (web, api, v2, health, openapi):
        app.register_blueprint(part.blueprint)
    return app
