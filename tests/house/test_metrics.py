"""The reference of metrics is made from the code, and the extras name nothing that is not there."""

import json
import re
from pathlib import Path

import pytest
import yaml

from quada.telemetry.metrics import LABELS, METRICS, reference

ROOT = Path(__file__).parents[2]
EXTRAS = ("prometheus-rules.yml", "grafana-dashboard.json")


def scraped() -> dict[str, set[str]]:
    """Every series a scrape can hold, with its labels."""
    found = {}
    for one in METRICS:
        ends = ("_bucket", "_count", "_sum") if one.kind == "histogram" else ("",)
        for end in ends:
            found[one.name + end] = {*one.labels, "instance", "le"}
    return found


def test_the_metrics_reference_is_current() -> None:
    written = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert written == reference(), "run `quada config metrics > docs/reference/metrics.md`"


def test_every_label_is_explained_and_every_explanation_is_of_a_label() -> None:
    assert {label for one in METRICS for label in one.labels} == set(LABELS)


@pytest.mark.parametrize("file", EXTRAS)
def test_extras_name_only_metrics_and_labels_that_exist(file: str) -> None:
    text = (ROOT / "extras" / file).read_text().replace('\\"', '"')
    known = scraped()
    used = re.findall(r"\b(quada_\w+)(?:\{([^}]*)\})?", text)
    assert len(used) > 10
    for name, matchers in used:
        assert name in known, f"{file} names {name}"
        for label in re.findall(r"(\w+)\s*=", matchers):
            assert label in known[name], f"{file}: {name} has no label {label}"


def test_extras_are_what_prometheus_and_grafana_read() -> None:
    rules = yaml.safe_load((ROOT / "extras" / EXTRAS[0]).read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert len(names) == len(set(names)) > 5
    dashboard = json.loads((ROOT / "extras" / EXTRAS[1]).read_text())
    assert all(panel["targets"][0]["expr"] for panel in dashboard["panels"])
