"""Documents say what is so."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import quada.doctor.findings as findings
from quada.cli.config import reference

ROOT = Path(__file__).parents[2]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_hops_of_every_journey_exist() -> None:
    hops = re.findall(r"`(src/quada/[\w/]+\.py):(\w+)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(hops) >= 15
    for file, function in hops:
        assert function in functions(ROOT / file), f"{file} has no {function}"


def test_a_journey_has_at_most_five_hops() -> None:
    for part in (ROOT / "ARCHITECTURE.md").read_text().split("\n## ")[1:]:
        assert len(re.findall(r"^\d\. ", part, re.MULTILINE)) <= 5


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_settings_reference_is_current() -> None:
    written = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert written == reference(), "run `quada config reference > docs/reference/settings.md`"


def test_the_findings_reference_is_current() -> None:
    written = (ROOT / "docs" / "reference" / "findings.md").read_text()
    assert written == findings.reference(), (
        "run `quada doctor --findings > docs/reference/findings.md`"
    )


def test_every_rule_of_findings_is_used() -> None:
    text = "".join(p.read_text() for p in (ROOT / "src" / "quada" / "doctor").rglob("judge*.py"))
    # Some codes are put together from family and transport.
    made = {
        f"{kind}-ipv{family}{end}"
        for family in (6, 4)
        for kind, end in (
            ("vantage", ""),
            ("resolves", "-only"),
            ("server-udp", ""),
            ("server-tcp", ""),
        )
    }
    for code in findings.RULES:
        assert f'"{code}"' in text or code in made, code


def test_every_dependency_has_its_line() -> None:
    listed = (ROOT / "docs" / "dependencies.md").read_text().lower()
    for name in re.findall(r'^  "([\w.-]+)[><=]', (ROOT / "pyproject.toml").read_text(), re.M):
        assert name.lower() in listed, f"docs/dependencies.md does not speak of {name}"


def test_the_readme_names_the_two_commands_and_they_exist() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("run", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}: " in makefile


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=110, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"?(https?://[^\" >]+)", page.read_text()
        )
        assert not fetched, f"{page.name}: {fetched}"
