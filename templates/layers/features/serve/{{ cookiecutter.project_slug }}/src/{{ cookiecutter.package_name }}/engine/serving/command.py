"""``serve [--run latest|ID|URI] [--model NAME=RUN] [--serve.port 8000]``, and ``serve keys``."""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import create_model

from .. import PROGRAM
from ..commands import Project
from ..config_fields import BaseConfig, Section
from ..config_loader import Parser, add_sections, argument_parser
from ..errors import ProjectError, UsageProblem
from ..extensions import find_serving_sections
from ..files import project_root
from ..runs import find_run, is_model_uri
from . import keys as key_file
from .sections import LOOPBACK
from .sources import Source

DEFAULT_KEYS_FILE = ".env.keys.json"  # which .gitignore and .dockerignore cover
SUMMARY = "Answer requests over HTTP with trained models. API keys: serve keys --help."


def run(project: Project, words: list[str]) -> None:
    """Serve models, or change the file of keys."""
    if words[:1] == ["keys"]:
        _run_keys(project, words[1:])
        return
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--run", help="latest (the default), a run's id or an MLflow model URI")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="a model by name, for /models/NAME/predict; may be repeated",
    )
    full = argument_parser(_shown_fields(project), "serve", SUMMARY, [parser])
    full.parse_args(words)  # help, and unknown flags
    arguments, fields = parser.parse_known_args(words)
    config = project.load_config(fields, sections=["serve", *find_serving_sections()])
    sources = find_sources(arguments.run, arguments.model)
    keys = key_file.Keys(Path(config.serve.keys_file)) if config.serve.keys_file else None
    for source in sources:
        if not is_model_uri(source.run):
            find_run(source.run)  # fails before the socket is opened
    with _listen(config.serve.host, config.serve.port) as opened:
        code = _serve(project, config, sources, keys, opened)
    sys.stdout.flush()
    if code:
        # A model is still being loaded, in a thread that the interpreter cannot end cleanly.
        os._exit(0)


def _shown_fields(project: Project) -> type[BaseConfig]:
    """Return the sections that matter to a service; those of training are the run's own."""
    own = ["serve", *find_serving_sections()]
    fields = add_sections(project.config, own).model_fields
    sections: dict[str, Any] = {
        name: (fields[name].annotation, fields[name]) for name in (*own, "tracking")
    }
    return cast("type[BaseConfig]", create_model("Shown", __base__=Section, **sections))


def find_sources(run: str | None, models: Sequence[str]) -> list[Source]:
    """Return what is to be served.

    Args:
        run: of the model that is called as the project.
        models: words ``NAME=RUN``.

    Raises:
        UsageProblem: a word is no such one, or a name comes twice.
    """
    sources = [Source(PROGRAM, run or "latest")] if run or not models else []
    for word in models:
        name, separator, place = word.partition("=")
        if not separator or not place:
            raise UsageProblem(f"--model: {word!r} must be NAME=RUN, such as small=latest.")
        sources.append(Source(name, place))
    names = [source.name for source in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageProblem(f"--model: the name {twice[0]!r} comes twice.")
    return sources


def _serve(
    project: Project,
    config: Any,
    sources: Sequence[Source],
    keys: key_file.Keys | None,
    opened: socket.socket,
) -> int:
    """Serve until a signal; return whether a model was being loaded at the end."""
    from . import request_log
    from .loader import Loader
    from .server import make_server
    from .service import Service

    request_log.start(config.serve.log_level)
    address = "{}:{}".format(*opened.getsockname()[:2])
    request_log.events.info("listening", extra={"facts": {"address": address}})
    if keys is None and config.serve.host not in LOOPBACK:
        text = "anyone who reaches this address may ask: there are no keys (serve.keys_file)"
        request_log.events.warning(text)
    if keys is not None and keys.is_open:
        text = "others may read the file of keys: chmod o-r (serve.keys_file)"
        request_log.events.warning(text)

    async def main() -> bool:
        service = Service(config, [source.name for source in sources])
        loader = Loader(project, config, sources, service)
        from .app import create_app

        loading = asyncio.create_task(loader.run())
        await make_server(create_app(service, keys), service).serve(sockets=[opened])
        loading.cancel()
        await service.close()
        request_log.events.info("stopped")
        return loader.is_busy

    return int(asyncio.run(main()))


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; before TensorFlow is imported, so that errors come at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol: asyncio then sends small packets at once, else each waits for 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or "no such address"
        raise ProjectError(
            f"serve.port: {host}:{port}: {reason}; another one: --serve.port {port + 1}."
        ) from None
    return opened


def _run_keys(project: Project, words: list[str]) -> None:
    """Add, list or remove keys."""
    parser = Parser(prog="serve keys", description="API keys of the service.", allow_abbrev=False)
    parser.add_argument("action", choices=["add", "list", "remove"])
    parser.add_argument("name", nargs="?", help="whose key it is")
    parser.add_argument("--file", type=Path, help="file of keys (default: serve.keys_file)")
    arguments = parser.parse_args(words)
    path = arguments.file or _find_keys_file(project)
    if arguments.action == "list":
        print("\n".join(key_file.names(path)))
        return
    if not arguments.name:
        raise UsageProblem(f"serve keys {arguments.action}: whose? Give a name.")
    if arguments.action == "remove":
        key_file.remove(path, arguments.name)
        print(f"The key of {arguments.name} is removed; a running service refuses it from now on.")
        return
    key = key_file.add(path, arguments.name)
    print(f"Only its hash is kept in {path}: note the key now.", file=sys.stderr)
    print(f"Serve with it: --serve.keys_file {path}", file=sys.stderr)
    print(key)


def _find_keys_file(project: Project) -> Path:
    config = project.load_config([], sections=["serve"])
    return Path(config.serve.keys_file or project_root() / DEFAULT_KEYS_FILE)
