"""The application factory: settings in, a WSGI application out."""

import prometheus_client

from fashion.server import problems
from fashion.server.api import health, open_inference, openapi, platform, predict
from fashion.server.environment import platform_routes
from fashion.server.pages import admin, history, index, login, result_page
from fashion.server.security import address, csrf, headers
from fashion.server.security.authentication import Authentication
from fashion.server.security.login_limits import LoginLimits
from fashion.server.security.session import SessionCookie
from fashion.server.service.admission import AdmissionControl
from fashion.server.service.classify import Classifier
from fashion.server.service.monitoring import Metrics, Monitor
from fashion.server.service.readiness import Readiness
from fashion.server.service.served_model import ServedModel
from fashion.server.services import Application, Services
from fashion.server.settings import MAX_BODY_BYTES, MAX_FORM_PARTS, MAX_TEXT_BYTES, Settings
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.prediction_history import NONE_OF_THESE, PredictionHistory
from fashion.server.storage.request_log import RequestLog
from fashion.server.storage.sessions import Sessions


def create_app(settings: Settings, model: ServedModel, accounts: Accounts, request_log: RequestLog) -> Application:
    """Create the application of one process.

    Args:
        settings: The server's settings.
        model: Loaded already, or being loaded.
        accounts: The accounts in the database.
        request_log: The request log in the database.

    Raises:
        InputError: If `redis_url` is not a Redis URL.
    """
    # Global to the process. Prometheus does not use the time series of creation times that this turns off.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    app = Application(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
        MAX_FORM_MEMORY_SIZE=MAX_TEXT_BYTES,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.services = _create_services(settings, model, accounts, request_log)
    # In this order: a request is monitored from its beginning, and refused before its body or its session is read.
    app.services.monitor.init_app(app)
    address.init_app(app, settings.trusted_proxies, settings.allowed_hosts)
    csrf.init_app(app)
    headers.init_app(app)
    problems.init_app(app)
    app.services.session.init_app(app)
    app.jinja_env.filters["percent"] = result_page.percent
    app.jinja_env.globals.update(
        card=model.card,
        feedback_choices=list(dict.fromkeys([*model.classes, NONE_OF_THESE])),
        input_is_tiny=max(model.input.shape[:2]) <= result_page.TINY_SIDE,
    )
    if app.services.platform_routes is not None:  # before the others, in case the platform asks one of their paths
        app.register_blueprint(platform.create_blueprint(app.services.platform_routes))
    for part in (index, login, history, admin, predict, open_inference, health, openapi):
        app.register_blueprint(part.blueprint)
    return app


def _create_services(settings: Settings, model: ServedModel, accounts: Accounts, request_log: RequestLog) -> Services:
    metrics = Metrics()
    monitor = Monitor(metrics, request_log)
    admission = AdmissionControl(settings.threads, settings.queue, metrics)
    session = SessionCookie(Sessions(accounts.database))
    login_limits = LoginLimits(settings.redis_url, must_answer=False)  # a worker is also replaced while Redis is down
    return Services(
        model=model,
        classifier=Classifier(model, admission, monitor),
        admission=admission,
        monitor=monitor,
        readiness=Readiness(model, accounts.check, login_limits.check),
        authentication=Authentication(accounts, login_limits, session, metrics),
        session=session,
        history=PredictionHistory(accounts.database, settings),
        platform_routes=platform_routes(settings.platform),
        database=accounts.database,
    )
