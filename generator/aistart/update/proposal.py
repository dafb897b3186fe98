"""What an update would do to a project, computed without changing anything."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aistart.answers import add_required, render_question, resolve
from aistart.catalog import Template
from aistart.errors import UsageProblem, unknown_name_error
from aistart.project import Request
from aistart.questions import Question, questions
from aistart.sources import Source
from aistart.update.merge import merge
from aistart.update.moves import find_moves
from aistart.update.plan import Change, OpenConflict, Plan, find_obstacles
from aistart.update.record import Record, build_record, record_files
from aistart.update.renaming import find_left_behind, find_old_names, find_renamed_answers
from aistart.update.trees import (
    Conflict,
    Entry,
    MergeResult,
    Tree,
    read_entry,
    read_ours,
    render_tree,
)


@dataclass(frozen=True)
class Proposal:
    """An update that could be applied.

    Attributes:
        project: the project's folder.
        old: its present record.
        new: its record afterwards.
        ours: its files, by path.
        result: what becomes of them.
        changes: of its files, those that can be made.
        notes: what a person should know of answers and features.
    """

    project: Path
    old: Record
    new: Record
    ours: Tree
    result: MergeResult
    changes: list[Change]
    notes: list[str] = field(default_factory=list)

    @property
    def is_due(self) -> bool:
        """Whether any file of the project changes, the record apart, or needs a decision."""
        return bool(self.changes or self.result.conflicts)

    @property
    def record_changes(self) -> list[Change]:
        """Changes of the record's own files."""
        changes = []
        for path, content in record_files(self.new).items():
            change = Change(path, read_entry(self.project / path), Entry("100644", content))
            if change.before is None or change.before.content != content:
                changes.append(change)
        return changes

    def make_plan(self, title: str, notes: list[str]) -> Plan:
        """Return the plan to apply it.

        Args:
            title: what it does, for messages.
            notes: lines to show when it is finished.
        """
        theirs = {
            conflict.path: conflict.theirs
            for conflict in self.result.conflicts
            if conflict.theirs is not None and not conflict.has_markers
        }
        conflicts = [
            OpenConflict(c.path, c.message, c.has_markers, c.path in theirs)
            for c in self.result.conflicts
        ]
        return Plan(title, self.changes, self.record_changes, conflicts, theirs, notes)


def propose(
    project: Path,
    record: Record,
    source: Source,
    settings: Mapping[str, str] | None = None,
    features: Iterable[str] | None = None,
) -> Proposal:
    """Merge what a template renders now into a project, in memory.

    Args:
        project: the project's folder.
        record: what it was made from.
        source: its template.
        settings: new answers to some questions.
        features: names of its features afterwards; default: those that it has.

    Raises:
        UsageProblem: an answer or feature is not allowed.
        AistartError: the template does not render, or git fails.
    """
    template = source.template
    answers, notes = carry_answers(template, record.answers, settings or {})
    if features is None:
        names, feature_notes = carry_features(template, record.features)
        notes += feature_notes
    else:
        names = list(features)
    request = make_request(project, record, template, answers, names)
    theirs = render_tree(request)
    moves = find_renamed_answers(record.answers, answers, theirs)
    ours = read_ours(project, record, theirs, moves)
    result = merge(record, ours, theirs, moves)
    changes, result = _remove_obstacles(project, ours, result)
    notes += find_old_names(project, moves, ours, result, theirs)
    notes += find_left_behind(project, find_moves(record.files, theirs, moves), ours)
    folder = template.folder_key or ""
    if folder in record.answers and record.answers[folder] != answers.get(folder):
        notes.append(f"The project's own folder keeps its name, {project.name}.")
    new = build_record(request, source, theirs)
    return Proposal(project, record, new, ours, result, changes, notes)


def make_request(
    project: Path,
    record: Record,
    template: Template,
    answers: Mapping[str, str],
    features: Iterable[str],
) -> Request:
    """Build the request that renders a project again, with the year in which it was made."""
    return Request(
        template,
        answers,
        project.absolute().parent,
        tuple(features),
        repository=False,
        year=record.year,
    )


def find_due_files(record: Record, theirs: Tree) -> list[str]:
    """Return the paths at which a render differs from a project's pristine files."""
    new = record.with_tree(theirs).files
    return sorted(path for path in {*record.files, *new} if record.files.get(path) != new.get(path))


def carry_answers(
    template: Template, old: Mapping[str, str], settings: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Answer the questions of a template as a project has answered them.

    An answer that follows from another one, as the package's name does from the project's, follows
    a new value of ``settings``.

    Args:
        template: the present one, which may have other questions.
        old: the recorded answers.
        settings: new answers to some questions.

    Returns:
        all answers, and notes on questions that are new or gone.

    Raises:
        UsageProblem: a question is unknown, or an answer is not allowed.
    """
    asked = {question.key: question for question in questions(template)}
    for key in settings:
        if key not in asked:
            raise unknown_name_error("question", key, asked)
    known = {key: value for key, value in old.items() if key in asked}
    follow = _find_followers(template, asked.values(), known) if settings else set()
    given = {key: value for key, value in known.items() if key not in follow} | dict(settings)
    try:
        answers = resolve(template, given)
    except UsageProblem as problem:
        key = problem.message.partition(":")[0]
        if key in settings or key not in asked:
            raise
        raise UsageProblem(
            f"{problem.message} The template has changed: add --set {key}=VALUE."
        ) from None
    notes = [
        f"New question: {key}, answered with its default {answers[key]!r} (--set {key}=VALUE)."
        for key in asked
        if key in answers and key not in old and key not in settings
    ]
    notes += [f"The template no longer asks for {key}." for key in old if key not in asked]
    return answers, notes


def _find_followers(
    template: Template, asked: Iterable[Question], known: Mapping[str, str]
) -> set[str]:
    """Return the questions whose recorded answer is what their default makes of other answers."""
    try:
        complete = resolve(template, known)
    except UsageProblem:  # an answer is no longer allowed: what follows from it stays as it is
        return set()
    return {
        question.key
        for question in asked
        if question.key in known
        and question.default
        and "{" in question.default
        and render_question(template, question, complete).default == known[question.key]
    }


def carry_features(template: Template, old: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the features that a project keeps, and notes on those that are gone or required."""
    old = list(old)
    kept = [name for name in old if name in template.features]
    names = add_required(template, kept)
    notes = [f"The template no longer has the feature {name}." for name in old if name not in kept]
    notes += [f"The feature {name} comes with others." for name in names if name not in kept]
    return names, notes


def _remove_obstacles(
    project: Path, ours: Tree, result: MergeResult
) -> tuple[list[Change], MergeResult]:
    """Return the changes that can be made; the others become conflicts."""
    origins = {new: old for old, new in result.moves.items()}
    changes = [
        Change(path, ours.get(path), result.tree.get(path), origins.get(path))
        for path in sorted({*ours, *result.tree})
        if ours.get(path) != result.tree.get(path)
    ]
    obstacles = find_obstacles(project, changes)
    if not obstacles:
        return changes, result
    conflicts = [
        Conflict(change.path, "in the way", obstacles[change.path], change.after)
        for change in changes
        if change.path in obstacles
    ]
    # What was to move to such a place stays where it is.
    stay = {old for old, new in result.moves.items() if new in obstacles} | set(obstacles)

    def omit(paths: list[str]) -> list[str]:
        return [path for path in paths if path not in obstacles]

    result = replace(
        result,
        conflicts=[*result.conflicts, *conflicts],
        updated=omit(result.updated),
        merged=omit(result.merged),
        new=omit(result.new),
        removed=omit(result.removed),
    )
    return [change for change in changes if change.path not in stay], result
