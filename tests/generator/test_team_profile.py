"""The profile of a team: where it comes from, who signs it off, and what it decides."""

import hashlib
import http.server
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from aistart.profile import download, reference, team
from tests.generator.foreign import PROJECT, write
from tests.generator.terminal import CTRL_C, DOWN, run_on_terminal
from tests.generator.test_new import assert_refused

Call = Callable[..., Result]

TEXT = """\
license = "MIT"
python_version = "3.12"

[features]
kubernetes = true
required = ["report", "ci"]
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# === A server ===


class Site:
    """A server on this machine, whose pages tests change."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.requests: list[str] = []
        self.pause = 0.0
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                time.sleep(site.pause)
                if target := site.redirects.get(self.path):
                    self.send_response(302)
                    self.send_header("Location", target)
                    self.end_headers()
                elif (text := site.pages.get(self.path)) is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(text.encode("latin-1"))

            def log_message(self, *words: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *words: object) -> None:
                """Say nothing of clients that leave: it would be in the output of a command."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.address}/profile.toml"

    def write(self, text: str) -> None:
        self.pages["/profile.toml"] = text

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()
    threading.Thread(target=site.server.serve_forever, args=(0.01,), daemon=True).start()
    yield site
    site.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    """A server with a profile."""
    with serve() as site:
        site.write(TEXT)
        yield site


@pytest.fixture
def in_use(site: Site, aistart: Call) -> Site:
    """The server's profile, signed off and in use."""
    assert aistart("profile", "use", site.url, "--trust").exit_code == 0
    return site


# === Sign-off ===


def test_use_shows_what_it_would_set_and_signs_it_off(aistart: Call, site: Site) -> None:
    result = aistart("profile", "use", site.url)
    shown = [
        site.url,
        "  license = MIT",
        "  python_version = 3.12",
        "  features.kubernetes = on",
        "  features.report is required",
        "  features.ci is required",
    ]
    assert result.output.splitlines() == [
        *shown,
        f"Error: profile: {site.url!r} is not signed off; look at it, then use --trust, or "
        f"`aistart profile use` with #sha256={sha256(TEXT)} at its end.",
    ]
    assert result.exit_code == 2
    assert team.find() is None
    result = aistart("profile", "use", site.url, "--trust")
    assert result.output.splitlines() == [
        *shown,
        "",
        f"In use: {site.url}",
        f"Next: aistart doctor --team {site.url}",
    ]
    in_use = team.find()
    assert in_use is not None
    assert (in_use.address, in_use.sha256) == (site.url, sha256(TEXT))


def test_a_person_signs_off_at_a_terminal(aistart: Call, site: Site) -> None:
    shown = run_on_terminal(["n\r"], "profile", "use", site.url)
    assert f"SHA-256 {sha256(TEXT)}" in shown
    assert f"Error: profile: {site.url!r} is not signed off; nothing changed." in shown
    assert team.find() is None
    assert f"In use: {site.url}" in run_on_terminal(["y\r"], "profile", "use", site.url)
    assert team.find() is not None


def test_a_hash_signs_off(aistart: Call, site: Site, isolated: Path) -> None:
    pinned = f"{site.url}#sha256={sha256(TEXT)}"
    assert aistart("profile", "use", pinned, "-q").output == ""
    in_use = team.find()
    assert in_use is not None
    assert in_use.address == site.url
    wrong = f"{site.url}#sha256={'0' * 64}"
    for words in (["profile", "use", wrong], ["new", "recommender", "a", "-y", "--profile", wrong]):
        result = aistart(*words)
        message = f"profile: {site.url!r} has the SHA-256 {sha256(TEXT)}, not {'0' * 64}."
        assert_refused(result, message, isolated)
    assert team.find() == in_use


def test_the_copy_needs_no_network(aistart: Call, in_use: Site, isolated: Path) -> None:
    in_use.stop()
    asked = len(in_use.requests)
    result = aistart("new", "recommender", "demo", "-y", "--no-git")
    assert result.exit_code == 0, result.output
    keys = "license, python_version, features.kubernetes, features.report, features.ci"
    assert f"From the profile {in_use.url}: {keys}.\n" in result.output
    pinned = f"{in_use.url}#sha256={sha256(TEXT)}"
    for named in (in_use.url, pinned):
        words = ["new", "recommender", "demo", "-y", "--dry-run", "-o", "x", "--profile", named]
        assert aistart(*words).exit_code == 0
    assert len(in_use.requests) == asked
    result = aistart("profile", "update")
    assert result.output == f"Error: profile: {in_use.url!r}: Connection refused.\n"
    assert result.exit_code == 1
    assert aistart("profile", "show").exit_code == 0


def test_update_shows_the_difference(aistart: Call, in_use: Site) -> None:
    assert aistart("profile", "update").output == f"{in_use.url} is unchanged.\n"
    changed = TEXT.replace("MIT", "BSD-3-Clause")
    in_use.write(changed)
    assert "  license = MIT\n" in aistart("profile", "show").output
    result = aistart("profile", "update")
    assert '-license = "MIT"\n+license = "BSD-3-Clause"\n' in result.output
    assert "is not signed off" in result.output
    assert result.exit_code == 2
    assert "  license = MIT\n" in aistart("profile", "show").output
    assert aistart("profile", "update", "--trust", "-q").output == ""
    assert "  license = BSD-3-Clause\n" in aistart("profile", "show").output
    folder = Path.home() / ".config" / "aistart" / "profiles"
    assert [file.name for file in folder.iterdir()] == [f"{sha256(changed)}.toml"]


def test_a_copy_that_was_edited(aistart: Call, in_use: Site, isolated: Path) -> None:
    (copy,) = (Path.home() / ".config" / "aistart" / "profiles").iterdir()
    for spoil in (lambda: copy.write_text('license = "Proprietary"\n'), copy.unlink):
        spoil()
        message = (
            f"profile: the copy of {in_use.url!r} was edited or deleted; "
            "`aistart profile update` restores it."
        )
        assert_refused(aistart("new", "recommender", "demo", "-y"), message, isolated)
        assert aistart("profile", "update").exit_code == 0
        assert aistart("profile", "show").exit_code == 0


def test_leave(aistart: Call, in_use: Site) -> None:
    assert aistart("profile", "leave").output == f"No longer in use: {in_use.url}\n"
    assert "team" not in aistart("profile", "show").output
    for word in ("leave", "update"):
        result = aistart("profile", word)
        assert result.output.startswith("Error: profile: no team's profile is in use; ")
        assert result.exit_code == 2


def test_another_profile_replaces_it(
    aistart: Call, in_use: Site, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.toml").write_text('license = "Proprietary"\n')
    for named in (["--profile", "own.toml"], []):
        if not named:
            monkeypatch.setenv("AISTART_PROFILE", "own.toml")
        result = aistart("new", "recommender", "demo", "-y", "--without", "ci", "--dry-run", *named)
        assert result.exit_code == 0, result.output
    result = aistart("profile", "use", in_use.url, "--trust")
    assert "But AISTART_PROFILE is set, and its profile is used instead.\n" in result.output


def test_a_file_is_read_each_time(aistart: Call, isolated: Path) -> None:
    file = isolated / "team.toml"
    file.write_text('license = "MIT"\n')
    assert aistart("profile", "use", "team.toml").exit_code == 0
    file.write_text('license = "BSD-3-Clause"\n')
    assert f"{file} (the team's)\n  license = BSD-3-Clause\n" in aistart("profile", "show").output
    assert "it is read each time" in aistart("profile", "update").output
    file.unlink()
    result = aistart("profile", "show")
    assert result.output == (
        f"Error: profile: {str(file)!r} is not a file; `aistart profile leave` forgets it.\n"
    )


def make_repository(folder: Path, files: dict[str, str]) -> str:
    """Make a bare repository with these files and return its URL."""
    source = folder.with_suffix(".source")
    for name, text in files.items():
        write(source / name, text)
    words = ["-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-qm", "First"]
    for command in (["init", "-q"], ["add", "-A"], words):
        subprocess.run(["git", *command], cwd=source, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(folder)], check=True)
    return f"file://{folder}"


def test_a_file_in_a_repository(aistart: Call, isolated: Path) -> None:
    url = make_repository(isolated / "config.git", {"team/profile.toml": TEXT})
    address = f"{url}//team/profile.toml"
    assert aistart("profile", "use", address).exit_code == 2
    assert aistart("profile", "use", f"{address}#sha256={sha256(TEXT)}").exit_code == 0
    assert f"{address} (the team's, signed off " in aistart("profile", "show").output
    for path, message in (
        ("no.toml", f"profile: '{url}//no.toml' is not a file.\n"),
        ("../x.toml", "'../x.toml' lies outside of the template's source.\n"),
    ):
        result = aistart("profile", "use", f"{url}//{path}")
        assert result.output.endswith(message)
        assert result.exit_code == 2
    result = aistart("profile", "use", f"file://{isolated}/no.git//profile.toml")
    assert result.output.startswith("Error: git: fatal: ")
    assert result.exit_code == 1


# === Bad input ===


@pytest.mark.parametrize(
    ("address", "message", "code"),
    [
        ("http://example.com/p.toml", "http is for this machine only; use https.", 2),
        ("https://u:secret@example.com/p.toml", "a URL must not hold a user or password", 2),
        ("ftp://example.com/p.toml", "must be a file, an https URL, or REPOSITORY//PATH", 2),
        ("https://[::1/p.toml", "is not a URL: Invalid IPv6 URL.", 2),
        ("https:///p.toml", "names no server.", 2),
        ("https://example.com/\x1b[2J", "must not hold control characters.", 2),
        ("https://example.com/p.toml#sha256=12", "#sha256=12 must have 64 hexadecimal", 2),
        ("no.toml", "profile: 'no.toml' is not a file.", 2),
        (
            "http://127.0.0.1:1/p.toml",
            "profile: 'http://127.0.0.1:1/p.toml': Connection refused.",
            1,
        ),
    ],
)
def test_references_that_are_refused(
    aistart: Call, isolated: Path, address: str, message: str, code: int
) -> None:
    result = aistart("profile", "use", address)
    assert message in result.output
    assert "secret" not in result.output
    assert (result.exit_code, result.output.count("\n")) == (code, 1)


def test_a_server_that_fails(aistart: Call, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        result = aistart("profile", "use", site.address + path, "--trust")
        assert result.exit_code in (1, 2)
        assert result.output.count("\n") == 1
        return result.output

    assert (
        refuse("/no.toml") == f"Error: profile: '{site.address}/no.toml' answers 404 Not Found.\n"
    )
    site.redirects["/moved"] = "http://example.com/profile.toml"
    assert refuse("/moved") == (
        f"Error: profile: '{site.address}/moved' redirects to 'http://example.com/profile.toml'; "
        "only https is followed.\n"
    )
    site.redirects["/file"] = "file:///etc/passwd"
    assert refuse("/file").endswith("/file' answers 302 Found.\n")
    site.redirects["/loop"] = "/loop"
    assert refuse("/loop").startswith(f"Error: profile: '{site.address}/loop' answers 302 ")
    site.pages["/large"] = "#" * (reference.MAX_BYTES + 1)
    assert refuse("/large") == f"Error: profile: '{site.address}/large' is larger than 1 MB.\n"
    site.pages["/page"] = "<html>\xff"
    assert f"profile: '{site.address}/page' does not parse: " in refuse("/page")
    monkeypatch.setattr(download, "LIMIT", 0.2)
    site.pause = 0.6
    assert (
        refuse("/profile.toml") == f"Error: profile: {site.url!r} does not answer within 0.2 s.\n"
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https(aistart: Call, site: Site, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "cert"]
    words += ["-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert", "key")
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    address = f"https://localhost:{site.server.server_port}"
    result = aistart("profile", "use", f"{address}/profile.toml", "--trust")
    assert result.output == (
        f"Error: profile: '{address}/profile.toml': self-signed certificate; certificates of your "
        "own are named by SSL_CERT_FILE.\n"
    )
    assert result.exit_code == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(isolated / "cert"))
    assert aistart("profile", "use", f"{address}/profile.toml", "--trust").exit_code == 0
    site.redirects["/down"] = "http://example.com/profile.toml"
    result = aistart("profile", "use", f"{address}/down", "--trust")
    assert result.output.endswith("'http://example.com/profile.toml'; only https is followed.\n")


def test_redirects_on_this_machine_are_followed(aistart: Call, site: Site) -> None:
    site.redirects["/latest"] = "/profile.toml"
    assert aistart("profile", "use", f"{site.address}/latest", "--trust").exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[features]\nrequired = 'ci'", "features.required: 'ci' must be a list of features"),
        ('[features]\nrequired = ["\\u001b[2J"]', "must be a list of features"),
        ("[features]\nci = false\nrequired = ['ci']", "features.ci is false, and it is required."),
        ("[feature]\nci = true", "profile: 'feature' is unknown. Did you mean 'features.ci'?"),
        ("[machine]\npyton = '3'", "'machine.pyton' is unknown. Did you mean 'machine.python'?"),
        ("[machine]\npython = '3.12'", "machine.python: '3.12' must be a range of versions"),
        ("[machine]\ndriver = 570", "machine.driver: 570 must be a version in quotes"),
        ("[machine]\nmemory_gib = '1'", "machine.memory_gib: '1' must be a number above 0."),
        ("[machine]\ndisk_gb = inf", "machine.disk_gb: inf must be a number above 0."),
        ("[machine]\ndisk_gb = true", "machine.disk_gb: True must be a number above 0."),
        ("machine = 1", "machine must be a table."),
        ('tracking_uri = "http://a\\u202eb"', "must not hold characters that cannot be seen."),
        ("[templates.x]\nsummary = 'a'", "templates.x has no source."),
        ("[templates.x]\nsorce = 'a'", "unknown. Did you mean 'templates.x.source'?"),
        ("[templates.x]\nsource = 1", "templates.x.source: 1 must be a text, in quotes."),
        ("[templates.X]\nsource = 'gh:a/b'", "templates: 'X' must hold only lower-case letters"),
        ("[templates]\nx = 1", "templates.x must be a table."),
        ("[templates.x]\nsource = 'folder'", "source: 'folder' must be a repository: a URL or "),
        ("[templates.x]\nsource = 'gh:a'", "'gh:a' is not of the form gh:owner/repository."),
        ("[templates.x]\nsource = 'ext::sh'", "git's remote helpers are not allowed."),
        ("[templates.x]\nsource = 'gh:a/b'\ncheckout = '-x'", "is not a branch, tag or commit."),
        ("[templates.x]\nsource = 'gh:a/b'\ndirectory = '../c'", "'../c' lies outside of the "),
        (
            "[templates.x]\nsource = 'gh:a/b'\nsummary = '''a\nb'''",
            "templates.x.summary: 'a\\nb' must be one line.",
        ),
        (
            "[templates.x]\nsource = 'gh:a/b'\nsummary = \"a\\u001b[2J\"",
            "templates.x.summary: 'a\\x1b[2J' must not hold control characters",
        ),
        (
            "[templates.recommender]\nsource = 'gh:a/b'",
            "templates.recommender: a built-in template has this name; choose another.",
        ),
        (
            "news = 'x'\n[machine]\naistart = '>=99.0'",
            "; the profile needs aistart >=99.0.",
        ),
    ],
)
def test_contents_that_are_refused(aistart: Call, site: Site, text: str, message: str) -> None:
    site.write(text)
    result = aistart("profile", "use", site.url, "--trust")
    assert message in result.output
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert team.find() is None


def test_texts_that_move_the_cursor_are_escaped(aistart: Call, site: Site) -> None:
    site.write('author = "a\\u202eb\\nc"\n')
    assert "  author = a\\u202eb\\nc\n" in aistart("profile", "use", site.url, "--trust").output
    site.write('author = "x"\n# \x9b2J\n'.encode().decode("latin-1"))
    assert "\n+# \\x9b2J\n" in aistart("profile", "update", "--trust").output


def test_a_profile_at_a_url_must_be_signed_off(aistart: Call, site: Site, isolated: Path) -> None:
    words = ["new", "recommender", "demo", "-y", "--profile", site.url]
    message = (
        f"profile: {site.url!r} is not signed off; use `aistart profile use`, or add "
        "#sha256=HASH to it."
    )
    assert_refused(aistart(*words), message, isolated)
    words[-1] += f"#sha256={sha256(TEXT)}"
    assert aistart(*words, "--dry-run").exit_code == 0
    shown = aistart("profile", "--profile", site.url, "show")
    assert shown.output.startswith(f"{site.url}\n  license = MIT\n"), "to look at it"
    for command in (["set", "license", "MIT"], ["unset", "license"], ["path"]):
        result = aistart("profile", "--profile", site.url, *command)
        assert result.output == f"Error: profile: {site.url!r} is not a file of this machine.\n"


def test_a_record_that_was_edited(aistart: Call, in_use: Site) -> None:
    record = Path.home() / ".config" / "aistart" / "team.json"
    for text in ("{", "[]", '{"address": 1, "sha256": null, "date": ""}'):
        record.write_text(text)
        result = aistart("profile", "show")
        assert result.output == (
            f"Error: profile: {str(record)!r} was edited; `aistart profile use` makes it anew.\n"
        )
    assert aistart("profile", "use", in_use.url, "--trust").exit_code == 0
    assert aistart("profile", "show").exit_code == 0


# === A person's values and the team's ===


def test_values_of_the_person_win(aistart: Call, in_use: Site) -> None:
    in_use.write(f'author = "The Team"\n{TEXT}')
    aistart("profile", "update", "--trust")
    for key, value in (("license", "BSD-3-Clause"), ("features.kubernetes", "off")):
        assert aistart("profile", "set", key, value).exit_code == 0
    aistart("profile", "set", "features.ci", "off")
    own = aistart("profile", "path").output.strip()
    lines = aistart("profile", "show").output.splitlines()
    assert lines[:4] == [
        own,
        "  license = BSD-3-Clause",
        "  features.kubernetes = off",
        f"  features.ci = off  (required by {in_use.url})",
    ]
    assert f"  license = MIT  (overridden by {own})" in lines
    assert "  features.kubernetes = on  (overridden by yours)" in lines
    result = aistart("new", "recommender", "demo", "-y", "--no-git")
    assert f"From the profile {own}: license, features.kubernetes.\n" in result.output
    keys = "author, python_version, features.report, features.ci"
    assert f"From the profile {in_use.url}: {keys}.\n" in result.output
    record = tomllib.loads(Path("demo/.aistart/answers.toml").read_text())
    assert record["answers"]["license"] == "BSD-3-Clause"
    assert {"report", "ci"} <= set(record["features"])
    assert "kubernetes" not in record["features"]


def test_required_features_cannot_be_left_out(aistart: Call, in_use: Site, isolated: Path) -> None:
    message = f"feature: 'ci' cannot be left out: the profile {in_use.url} requires it."
    words = ["new", "recommender", "demo", "-y"]
    assert_refused(aistart(*words, "--without", "ci"), message, isolated)
    result = aistart(*words, "--minimal", "--no-git")
    assert "Made demo (Recommender, with report, ci).\n" in result.output
    Path("a.toml").write_text('features = ["docker"]\n[answers]\nproject_name = "two"\n')
    result = aistart("new", "recommender", "-y", "--answers", "a.toml", "--no-git")
    assert "with report, docker, ci).\n" in result.output
    assert message in aistart("remove", "ci", "-C", "demo").output


def test_required_features_at_a_terminal(aistart: Call, in_use: Site) -> None:
    words = ["new", "recommender", "demo", "--no-git"]
    for key in ("project_slug", "package_name", "description", "author", "organisation"):
        words += ["--set", f"{key}=demo"]
    words += ["--set", "tracking_uri="]
    shown = run_on_terminal(["\r"] * 3, *words, columns=120)
    assert "Licence (from the team's profile): MIT" in shown
    assert "(required by the profile)" in shown
    made = next(line for line in shown.splitlines() if line.startswith("Made demo"))
    assert {"report", "ci", "kubernetes"} <= set(made.strip(").").split("with ")[1].split(", "))


def test_the_command_that_is_shown_makes_the_same(in_use: Site, isolated: Path) -> None:
    program = [sys.executable, "-m", "aistart"]
    first = [*program, "new", "recommender", "one", "-y", "--without", "export"]
    done = subprocess.run(first, capture_output=True, text=True, check=True)
    again = done.stdout.splitlines()[-1].strip()
    assert "--set license=MIT" in again
    assert "--with ci" in again
    home = isolated / "home"
    home.mkdir()
    (isolated / "second").mkdir()
    subprocess.run(
        [*program, *shlex.split(again)[1:]],
        cwd="second",
        env={**os.environ, "HOME": str(home)},
        check=True,
        capture_output=True,
    )
    diff = ["diff", "-r", "--exclude=.git", "one", "second/one"]
    assert subprocess.run(diff, capture_output=True, text=True).stdout == ""


def test_the_command_with_a_profile_at_a_url(aistart: Call, in_use: Site) -> None:
    result = aistart("new", "recommender", "one", "-y", "--no-git", "--profile", in_use.url)
    assert f"--profile '{in_use.url}#sha256={sha256(TEXT)}'" in result.output


# === The catalogue ===


@pytest.fixture
def catalogue(site: Site, aistart: Call, isolated: Path) -> Site:
    """A profile in use with two templates, of which one is gone."""
    manifest = {"project_name": "My Forecast", "project_slug": "forecast", "author": "Nobody"}
    folder = isolated / "templates.git"
    source = folder.with_suffix(".source") / "forecaster"
    write(source / "cookiecutter.json", json.dumps(manifest))
    text = "by {{ cookiecutter.author }}\n"
    url = make_repository(folder, {f"forecaster/{PROJECT}/README.md": text})
    site.write(
        f"""author = "The Team"
[templates.forecaster]
source = "{url}"
directory = "forecaster"
summary = "Demand of the next weeks."
[templates.gone]
source = "file://{isolated}/gone.git"
checkout = "v1"
"""
    )
    assert aistart("profile", "use", site.url, "--trust").exit_code == 0
    return site


def test_list_shows_the_templates_of_the_team(
    aistart: Call, catalogue: Site, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = aistart("list").output.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("forecaster"))
    assert lines[at].split()[:2] == ["forecaster", "team"]
    place = f"file://{isolated}/templates.git, folder forecaster"
    shown = " ".join(" ".join(lines[at:]).split())
    assert f"team {place} Demand of the next weeks. gone team file://" in shown
    listed = json.loads(aistart("list", "--json").output)
    assert listed[-2] == {
        "name": "forecaster",
        "title": "forecaster",
        "domain": "team",
        "summary": "Demand of the next weeks.",
        "source": f"file://{isolated}/templates.git",
        "directory": "forecaster",
        "checkout": None,
    }
    monkeypatch.setenv("COLUMNS", "40")
    assert "forecaster\n" in aistart("list").output


def test_templates_of_the_team_by_name(aistart: Call, catalogue: Site, isolated: Path) -> None:
    result = aistart("new", "forecaster", "one", "-y")
    assert "does not come with aistart, and to render it is to run its code" in result.output
    assert result.exit_code == 2
    result = aistart("new", "forecaster", "one", "-y", "--trust-always", "--no-git")
    assert result.exit_code == 0, result.output
    assert Path("forecast/README.md").read_text() == "by The Team\n"
    again = shlex.split(result.output.splitlines()[-1])
    assert again[:3] == ["aistart", "new", f"file://{isolated}/templates.git"]
    assert again[again.index("--directory") + 1] == "forecaster"
    assert len(again[again.index("--checkout") + 1]) == 40
    result = aistart("show", "forecaster")
    assert result.exit_code == 0, result.output
    assert "project_name" in result.output


def test_names_of_templates_that_are_wrong(aistart: Call, catalogue: Site, isolated: Path) -> None:
    result = aistart("new", "forcaster", "one", "-y")
    assert result.output.startswith(
        "Error: template: 'forcaster' is unknown. Did you mean 'forecaster'? Allowed: "
    )
    assert result.output.endswith(", forecaster, gone.\n")
    result = aistart("show", "gone")
    place = f"file://{isolated}/gone.git, at v1"
    assert result.output.startswith(f"Error: template: 'gone' of the profile ({place}): git: fatal")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


def test_the_list_to_choose_from_has_them(catalogue: Site) -> None:
    assert "forecaster (Demand of the next weeks.)" in run_on_terminal([DOWN, CTRL_C], "new")


def test_folders_of_a_profile_in_a_file(aistart: Call, isolated: Path) -> None:
    manifest = {"project_slug": "made"}
    write(isolated / "team" / "tools" / "cookiecutter.json", json.dumps(manifest))
    write(isolated / "team" / "tools" / PROJECT / "a.txt", "a")
    (isolated / "team" / "profile.toml").write_text('[templates.tools]\nsource = "tools"\n')
    words = ["new", "tools", "-y", "--trust", "--no-git", "--profile", "team/profile.toml"]
    assert aistart(*words).exit_code == 0
    assert Path("made/a.txt").read_text() == "a"


def test_names_are_completed(catalogue: Site) -> None:
    program = Path(sys.executable).with_name("aistart")
    for line, offered in (
        ("aistart new fore", ["plain", "forecaster", "_"]),
        ("aistart show gon", ["plain", "gone", "_"]),
        (f"aistart new --profile {catalogue.url}#sha256={'0' * 64} fore", ["dir", "fore", "_"]),
    ):
        asked = len(catalogue.requests)
        variables = {"_AISTART_COMPLETE": "zsh_complete", "COMP_WORDS": line}
        environment = {**os.environ, **variables, "COMP_CWORD": str(len(line.split()) - 1)}
        done = subprocess.run([program], capture_output=True, text=True, env=environment)
        assert done.stdout.splitlines() == offered
        assert len(catalogue.requests) == asked, "completion does not wait for a network"


def test_the_example_of_the_help_is_a_profile(aistart: Call, isolated: Path) -> None:
    example = aistart("profile", "--help").output.partition("everything is optional:\n")[2]
    (isolated / "team.toml").write_text(textwrap.dedent(example))
    shown = aistart("profile", "--profile", "team.toml", "show").output
    assert "  templates.forecaster = gh:our-team/templates, folder forecaster, at v3\n" in shown
    assert "  machine.disk_gb = 50\n" in shown
