"""Settings from environment variables: what each sets, what wins, and that every mistake is one line that names it."""

import os

import pytest
from hydra import compose, initialize_config_dir

from fashion.errors import InputError
from fashion.paths import PROJECT
from fashion.server import environment
from fashion.server.serving_settings import ServingSettings, add_environment, prepare_serving
from fashion.server.settings import Settings

PASSWORD = "correct horse battery"


@pytest.fixture
def variables(monkeypatch):
    """Set variables of the environment, in which there are no others of this program."""
    for name in list(os.environ):
        if name.startswith("FASHION_") or name == "PORT":
            monkeypatch.delenv(name)

    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


def composed(*arguments: str) -> ServingSettings:
    """The settings of a command line in the current environment."""
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        return prepare_serving(compose("serve", add_environment(["artifact=run", *arguments])), lambda: "")


def test_each_setting_has_its_variable():
    server = {f"server.{name}" for name in Settings.model_fields}
    assert set(environment.SETTINGS.values()) == {*server, "artifact", "backend"}


def test_variables_set_values_of_the_settings_types(variables):
    variables(
        FASHION_BACKEND="tensorflow",
        FASHION_HOST="::1",
        FASHION_PORT="8080",
        FASHION_TRUSTED_PROXIES="2",
        FASHION_REDIS_URL="null",
        FASHION_ALLOWED_HOSTS="a.org, .b.org",
        FASHION_KEEP_IMAGES="true",
        FASHION_DATABASE_URL="postgresql://ann:p,w{${x}}'@host/name",
    )
    settings = composed()
    server = settings.server
    assert (settings.backend, server.host, server.port) == ("tensorflow", "::1", 8080)
    assert (server.trusted_proxies, server.redis_url, server.keep_images) == (2, None, True)
    assert server.allowed_hosts == ["a.org", ".b.org"]
    assert server.database_url == "postgresql://ann:p,w{${x}}'@host/name"


def test_the_command_line_wins_over_the_environment_and_that_over_the_files(variables):
    variables(PORT="81")
    assert composed().server.port == 81
    variables(FASHION_PORT="82", FASHION_THREADS="3")
    assert composed().server.port == 82
    server = composed("server.port=83").server
    assert (server.port, server.threads, server.queue) == (83, 3, 64)


def test_the_word_serve_is_accepted_as_the_first_argument_only(variables):
    variables(FASHION_PORT="81")
    assert add_environment(["serve", "server.port=1"]) == add_environment(["server.port=1"])
    assert add_environment(["server.port=1", "serve"])[-1] == "serve"
    assert add_environment(["serve", "serve"])[-1] == "serve"


@pytest.mark.parametrize("ending", ["", "\n"])
def test_a_secret_may_be_in_a_file_and_is_no_part_of_the_command_line(variables, tmp_path, ending):
    (tmp_path / "url").write_text(f"redis://:secret@host/0{ending}")
    variables(FASHION_REDIS_URL_FILE=str(tmp_path / "url"))
    assert composed().server.redis_url == "redis://:secret@host/0"
    assert add_environment([]) == ["server.redis_url=${environment:FASHION_REDIS_URL_FILE}"]


def test_only_one_newline_is_removed(variables, tmp_path):
    (tmp_path / "password").write_text(f"{PASSWORD} \n\n")
    variables(FASHION_ADMIN_PASSWORD_FILE=str(tmp_path / "password"))
    assert environment.first_password() == ("FASHION_ADMIN_PASSWORD_FILE", f"{PASSWORD} \n")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"FASHION_PRT": "80"}, "FASHION_PRT: there is no such .*; did you mean FASHION_PORT"),
        ({"FASHION_HOST_FILE": "x"}, "FASHION_HOST_FILE: there is no such"),
        ({"FASHION_PORT": "http"}, "FASHION_PORT: got 'http', expected a valid integer"),
        ({"PORT": "70000"}, "PORT: got 70000, expected less than 65536|PORT: got '70000', expected less than 65536"),
        ({"FASHION_BACKEND": "torch"}, "FASHION_BACKEND: got 'torch', expected 'jax' or 'tensorflow'"),
        ({"FASHION_KEEP_IMAGES": "maybe"}, "FASHION_KEEP_IMAGES: got 'maybe', expected a valid boolean"),
        ({"FASHION_HOST": ""}, "FASHION_HOST: is empty"),
        ({"FASHION_REDIS_URL": "x", "FASHION_REDIS_URL_FILE": "y"}, "FASHION_REDIS_URL and FASHION_REDIS_URL_FILE: bo"),
        ({"FASHION_REDIS_URL_FILE": "/nowhere/x"}, "FASHION_REDIS_URL_FILE: the file /nowhere/x cannot be read \\(No"),
        ({"FASHION_DATABASE_URL_FILE": "/"}, "FASHION_DATABASE_URL_FILE: the file / cannot be read"),
        ({"FASHION_ADMIN_PASSWORD": "short"}, "FASHION_ADMIN_PASSWORD: got 5 characters, expected at least 8"),
        ({"FASHION_ADMIN_PASSWORD": "password"}, "FASHION_ADMIN_PASSWORD: is too easy to guess"),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(variables, values, message):
    variables(**values)
    with pytest.raises(InputError, match=f"^({message})") as caught:
        add_environment([])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not text in UTF")]
)
def test_a_file_without_a_secret_is_refused(variables, tmp_path, content, message):
    (tmp_path / "url").write_bytes(content)
    variables(FASHION_DATABASE_URL_FILE=str(tmp_path / "url"))
    with pytest.raises(InputError, match=f"FASHION_DATABASE_URL_FILE: the file .*/url {message}"):
        add_environment([])


def test_the_variables_that_kubernetes_adds_for_a_service_are_ignored(variables):
    variables(
        FASHION_SERVICE_HOST="10.0.0.1",
        FASHION_SERVICE_PORT="80",
        FASHION_SERVICE_PORT_HTTP="80",
        FASHION_PORT="tcp://10.0.0.1:80",
        FASHION_PORT_80_TCP="tcp://10.0.0.1:80",
        FASHION_PORT_80_TCP_ADDR="10.0.0.1",
        FASHION_REDIS_PORT="tcp://10.0.0.2:6379",
        FASHION_REDIS_SERVICE_HOST="10.0.0.2",
    )
    assert composed().server.port == 5000
