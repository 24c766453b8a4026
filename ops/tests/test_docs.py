"""What the prose here names is there: files, headings, commands, flags, settings, alerts."""

import re
import subprocess

import support
from support import BIN, OPS

REPOSITORY = OPS.parent
DOCUMENTS = sorted(OPS.glob("*.md"))


def said(*arguments):
    return subprocess.run([BIN, *arguments], capture_output=True, text=True)


def anchors(path):
    """Those of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def test_the_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (document.parent / path) if path else document
            assert target.exists(), f"{document.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{document.name}: {link}"


def code(document):
    """What is set as code, in lines and in blocks."""
    text = document.read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+", " ", part) for part in re.findall(r"`([^`]+)`", prose)] + [
        line.lstrip("$ ").split("  #")[0] for block in blocks for line in block.splitlines()
    ]


def test_the_commands_exist():
    found = 0
    for document in DOCUMENTS:
        for part in code(document):
            for command in re.findall(r"(?:^|[;&|] )fanfare ((?:[a-z]+)(?: [^;&|]+)?)", part):
                name, *words = command.split()
                flags = {word.split("=")[0] for word in words if word.startswith("--")}
                help_of = said(name, "--help")
                assert help_of.returncode == 0, f"{document.name}: fanfare {command}"
                for flag in flags:
                    assert flag in help_of.stdout, f"{document.name}: fanfare {command}"
                found += 1
    assert found > 5


def test_the_flags_and_variables_are_settings():
    table = said("settings-table").stdout
    for document in DOCUMENTS:
        for part in code(document):
            if re.fullmatch(r"--[a-z0-9-]+", part):
                assert f"`{part}`" in table, f"{document.name}: {part}"
            if re.fullmatch(r"FANFARE_[A-Z_]+", part):
                assert f"`{part}`" in table, f"{document.name}: {part}"


def test_the_alerts_exist():
    names = set(support.rules("alert"))
    for document in DOCUMENTS:
        for name in re.findall(r"\bFanfare[A-Z]\w+", document.read_text()):
            assert name in names, f"{document.name}: {name}"


def test_the_targets_of_make_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    for document in DOCUMENTS:
        for target in re.findall(r"`make ([a-z]+)`|\$ make ([a-z]+)", document.read_text()):
            assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target
