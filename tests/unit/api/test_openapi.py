"""The API against its own OpenAPI document: schemathesis sends what the document allows and forbids.

What no operation may do, whatever it is sent: fail with a server error, give a status, a media type
or a body that the document does not have.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from quada.store.journal import Author
from quada.zones import read_zone
from small_api import ORIGIN, TEXT, Api

EXAMPLES = 16  # an operation; 120 were run by hand
SECONDS = 40  # on a slow machine fewer examples, rather than more time
NEVER_ENDS = "/quada/v1/events/live"
KNOWN = {"zone": "example.com", "account": 1, "server": "localhost"}
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance,
]  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("openapi"), requests_per_hour=10**9)
    made.server.told = {
        "status": {"zones": [], "dnssec": [], "pools": []}, "explain": {}, "dnssec-tick": [],
    }  # fmt: skip
    yield made
    made.close()


def test_every_operation_keeps_to_the_document(api: Api) -> None:
    document = schemathesis.openapi.from_asgi("/quada/v1/openapi.json", api.app)
    wrong = []
    count = 0
    started = time.monotonic()
    for found in document.exclude(path=NEVER_ENDS).get_all_operations():
        operation = found.ok()
        count += 1
        if api.store.zone(ORIGIN) is None:  # an operation before this one removed it
            api.store.create(read_zone(TEXT, ORIGIN), Author("test"), 1)
        try:
            is_late = time.monotonic() - started > SECONDS
            tried(operation, api, 1 if is_late else EXAMPLES)()
        except (Exception, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label}: {error}")
    assert count > 60
    assert not wrong, "\n\n".join(wrong)


def tried(operation: Any, api: Api, examples: int) -> Callable[[], None]:
    """Give what tries an operation with examples that its schema makes."""

    @hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck), verbosity=hypothesis.Verbosity.quiet,
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(), is_known=hypothesis.strategies.booleans())
    def run(case: schemathesis.Case, is_known: bool) -> None:
        for name in case.path_parameters or {}:
            # Names at random are never of anything: every other one is of what is there.
            if is_known and name in KNOWN:
                case.path_parameters[name] = KNOWN[name]
        case.call_and_validate(headers={"Authorization": f"Bearer {api.token}"}, checks=CHECKS)

    return run


def test_every_operation_says_who_may_and_how_it_fails(api: Api) -> None:
    paths = api.http.get("/quada/v1/openapi.json").json()["paths"]
    everybodys = {
        "/health",
        "/external-dns/healthz",
        "/quada/v1/problems",
        "/quada/v1/problems/{code}",
    }
    for path, operations in paths.items():
        for method, told in operations.items():
            assert path in everybodys or told.get("security"), (method, path)
            if path.startswith("/quada/v1/"):
                assert "application/problem+json" in told["responses"]["4XX"]["content"], path
