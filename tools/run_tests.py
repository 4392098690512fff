#!/usr/bin/env python3
"""Runs unit tests (CTest), text tests (lit) and end-to-end tests (pytest) of build/ and adds up their counts.

The last line is "N passed, N failed", with ", N skipped" where some were. Arguments go to pytest.
"""
import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
RESULTS = BUILD / "test-results"


def run(name, command, **options):
    """Runs a runner that writes JUnit XML; (passed, failed, skipped). A runner that breaks counts as a failure."""
    print(f"== {name}", flush=True)
    report = RESULTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    code = subprocess.run([str(word).replace("REPORT", str(report)) for word in command], **options).returncode
    passed = failed = skipped = 0
    if report.exists():
        for case in xml.parse(report).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
    if passed + failed == 0 or (code != 0 and failed == 0):
        print(f"error: {name} ended with exit code {code} and reported {passed + failed} tests", file=sys.stderr)
        failed += 1
    return passed, failed, skipped


def main():
    RESULTS.mkdir(parents=True, exist_ok=True)
    tools = (BUILD / "test" / "llvm-tools-dir").read_text().strip()
    os.environ.setdefault("VIRTUAL_ENV", sys.prefix)  # nvdisasm lies there
    counts = [
        run("unit", ["ctest", "--test-dir", BUILD, "--output-junit", "REPORT", "--output-on-failure", "-j2"]),
        run("text", [f"{tools}/lit", "-sv", "--xunit-xml-output", "REPORT", "-j2", BUILD / "test"]),
        run("end-to-end", [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", "-x" if os.environ.get("FAIL_FAST") else "-q", "--junitxml", "REPORT",
                           ROOT / "test" / "e2e", *sys.argv[1:]]),
    ]
    passed, failed, skipped = (sum(column) for column in zip(*counts))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(failed != 0)


main()
