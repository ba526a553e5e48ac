"""Settings in effect: what was set is told from what is as it comes, and no secret is shown."""

from dataclasses import asdict

from quada.config.load import read_settings
from quada.config.settings import Settings
from quada.config.shown import shown_settings, without_secrets

SECRETS = """
version = 1
[authority]
cookie_secret = "s3cr3t-1"
[events]
clickhouse_secret = "s3cr3t-2"
[oidc]
client_secret = "s3cr3t-3"
[[key]]
name = "transfer"
secret = "s3cr3t-4"
[[alert_receiver]]
name = "oncall"
url = "https://[2001:db8::9]/hook"
secret = "s3cr3t-5"
"""


def test_no_secret_is_shown() -> None:
    settings = read_settings(SECRETS)
    assert "s3cr3t-4" in str(asdict(settings))
    for shown in (str(without_secrets(settings)), str(shown_settings(settings))):
        assert "s3cr3t" not in shown
        assert shown.count("(not shown)") == 5


def test_what_was_set_is_told_from_defaults_and_explained() -> None:
    shown = {one.path: one for one in shown_settings(read_settings("[server]\nworkers = 3\n"))}
    assert (shown["server.workers"].value, shown["server.workers"].is_set) == ("3", True)
    assert not shown["authority.listen"].is_set
    assert all(one.doc for one in shown.values() if not one.path.startswith("["))


def test_a_secret_that_is_not_set_hides_nothing() -> None:
    assert without_secrets(Settings())["authority"]["cookie_secret"] == ""
