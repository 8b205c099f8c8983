"""The application: settings in, everything wired, WSGI out."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from fashion.server import problems
from fashion.server.api import health, open_inference, openapi, predict
from fashion.server.pages import admin, history, index, login, result_page
from fashion.server.security import authentication, headers, session
from fashion.server.service import monitoring, uploads
from fashion.server.service.admission import WorkQueue
from fashion.server.service.served_model import ServedModel
from fashion.server.settings import MOST_BODY_BYTES, MOST_FORM_PARTS, Settings
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.prediction_history import NONE_OF_THESE, Predictions
from fashion.server.storage.request_log import RequestLog


def create_app(settings: Settings, model: ServedModel, accounts: Accounts, request_log: RequestLog) -> Flask:
    """Make the application of one process.

    Args:
        settings: What was set.
        model: Loaded already, or being loaded.
        accounts: Who may use it.
        request_log: Where requests are kept.

    Raises:
        InputError: When failed log-ins cannot be counted where the settings say.
    """
    app = Flask(__name__)
    app.request_class = uploads.InMemoryRequest
    app.config.update(
        MAX_CONTENT_LENGTH=MOST_BODY_BYTES,
        MAX_FORM_PARTS=MOST_FORM_PARTS,
        # Of text fields. Werkzeug holds what it reads at a time against it too, 64 KiB and a rest:
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
    headers.init_app(app)
    problems.init_app(app)
    authentication.init_app(
        app, authentication.Authentication(accounts, authentication.LoginLimits(settings.redis_url), metrics)
    )
    session.init_app(app, session.Sessions(accounts.database))
    app.extensions["database"] = accounts.database
    app.extensions["predictions"] = Predictions(accounts.database, settings)
    app.jinja_env.filters["percent"] = result_page.percent
    app.jinja_env.globals.update(classes=model.classes, none_of_these=NONE_OF_THESE)
    for part in (index, login, history, admin, predict, open_inference, health, openapi):
        app.register_blueprint(part.blueprint)
    return app
