"""The lab, as fixtures."""

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("internet", Path(__file__).parent / "internet.py")
assert _SPEC is not None
assert _SPEC.loader is not None
internet_module = importlib.util.module_from_spec(_SPEC)
sys.modules["internet"] = internet_module
_SPEC.loader.exec_module(internet_module)


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    """A small internet, up for a module's tests."""
    why = internet_module.is_possible()
    if why:
        pytest.skip(why)
    place = tmp_path_factory.mktemp("lab")
    place.chmod(0o777)
    with internet_module.Internet(place) as made:
        yield made


@pytest.fixture(scope="module")
def internet_with():
    """Make an internet with more zones; up for a module's tests."""
    why = internet_module.is_possible()
    if why:
        pytest.skip(why)
    with contextlib.ExitStack() as stack:

        def make(place: Path, planted: dict[str, tuple[str, str]], **more):
            place.chmod(0o777)
            return stack.enter_context(internet_module.Internet(place, planted, **more))

        yield make


@pytest.fixture(scope="module")
def resolver(internet):
    """Start resolvers inside: give options, get the port and state directory."""
    started = 0

    def start(*options: str) -> tuple[int, Path]:
        nonlocal started
        started += 1
        port, state = 5300 + started, internet.place / f"state{started}"
        internet.popen(
            [
                sys.executable,
                "-m",
                "quada",
                "serve",
                "--role",
                "resolver",
                "--workers",
                "1",
                "--listen",
                f"[::1]:{port}",
                "--root-hints",
                str(internet.hints),
                "--trust-anchor",
                str(internet.anchor),
                "--state-dir",
                str(state),
                *options,
            ],
            f"resolver{started}.log",
        )
        internet.wait_for("localhost", "::1", port)
        return port, state

    return start
