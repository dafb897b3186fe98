"""``config [--config FILE] [--section.field VALUE …]``: print the resolved configuration."""

from ..config_loader import argument_parser
from . import Project


def run(project: Project, words: list[str]) -> None:
    """Print all fields as YAML, without secrets; ``--config`` reads it."""
    if {"-h", "--help"} & set(words):
        argument_parser(project.config, "config", "Print the resolved configuration.").print_help()
        return
    print(project.load_config(words).to_yaml(), end="")
