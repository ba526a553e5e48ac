"""The reference of zone rules is made from the code."""

from pathlib import Path

from quada.zones.check import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"


def test_the_reference_of_zone_rules_is_current() -> None:
    assert PAGE.read_text() == reference(), (
        "run: quada check rules --markdown > docs/reference/checks.md"
    )
