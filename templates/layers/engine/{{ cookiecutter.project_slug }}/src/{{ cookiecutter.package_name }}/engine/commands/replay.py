"""``replay RUN [--tracking.uri …]``: send a run to MLflow, or what is missing of it."""

from ..config_loader import Parser
from ..runs import find_run
from . import Project


def run(project: Project, words: list[str]) -> None:
    """Send a run that MLflow does not have, or not all of it."""
    parser = Parser(
        prog="replay",
        description="Send a run to MLflow, or what is missing of it; fields such as --tracking.uri "
        "override the run's own.",
        allow_abbrev=False,
    )
    parser.add_argument("run", help="a run's id, or latest")
    arguments, fields = parser.parse_known_args(words)
    trained = find_run(arguments.run, "RUN")
    config = project.load_config(fields, base=trained.config_file)
    from ..tracking.sender import replay

    state = replay(trained, config)
    print(f"{trained.id}: {state['tracking_uri']}, run {state['run_id']}")
