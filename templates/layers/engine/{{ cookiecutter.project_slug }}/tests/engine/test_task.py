"""A task that lacks a part, or has one of the wrong kind, is refused when it is made."""

from typing import Any

import pytest

from {{ cookiecutter.package_name }} import task as task_module
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.interfaces import ARGUMENTS, Task
from {{ cookiecutter.package_name }}.engine.lookup import find_optional

from .tiny import make_task


@pytest.mark.parametrize("name", ["load", "preprocessing", "build_model", "losses", "measure"])
def test_a_missing_part_is_named(name: str) -> None:
    parts = {n: v for n, v in vars(make_task("any")).items() if n != name}
    with pytest.raises(TypeError, match=f"missing 1 required keyword-only argument: '{name}'"):
        Task(**parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"load": None}, "task.py: load must be a function of 2 arguments, not None."),
        ({"build_model": lambda config: None}, "task.py: build_model is called with 2 arguments"),
        ({"phases": lambda: []}, "task.py: phases is called with 1 arguments"),
        ({"preprocessing": object}, "task.py: preprocessing lacks the method 'fit'."),
        ({"losses": {}}, "task.py: losses is empty; training needs at least one."),
        ({"metrics": ["accuracy"]}, "task.py: metrics must be a table of functions by name"),
        ({"losses": {"mse": "model:no_such"}}, "but model.py has no 'no_such'."),
        ({"callbacks": {"mine": print, "other": lambda: 1}}, "task.py: callbacks['other'] is call"),
    ],
)
def test_a_part_of_the_wrong_kind_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        make_task("any", **parts)
    assert message in str(caught.value)


def test_the_engine_passes_what_the_check_expects() -> None:
    functions = {name for name, value in vars(make_task("any")).items() if callable(value)}
    assert functions - {"preprocessing"} <= set(ARGUMENTS)
    assert isinstance(task_module.task, Task)


def test_parts_whose_module_is_left_out() -> None:
    assert find_optional("task:task") is task_module.task
    assert find_optional("no_such_module:task") is None
    assert find_optional("engine.no_such_module:task") is None
    assert find_optional("no_such_package.module:task") is None
    with pytest.raises(AttributeError, match="no_such"):
        find_optional("task:no_such")
