"""``config [--config FILE] [--section.field VALUE …]``: print the resolved configuration."""

from ..config_loader import add_sections, argument_parser
from ..extensions import find_training_sections
from . import Project


def run(project: Project, words: list[str]) -> None:
    """Print all fields that ``train`` has as YAML, without secrets; ``--config`` reads it."""
    sections = find_training_sections()
    if {"-h", "--help"} & set(words):
        config_type = add_sections(project.config, sections)
        argument_parser(config_type, "config", "Print the resolved configuration.").print_help()
        return
    print(project.load_config(words, sections=sections).to_yaml(), end="")
