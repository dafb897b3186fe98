import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from {{ cookiecutter.package_name }} import registry
from {{ cookiecutter.package_name }}.config import Config, TrainConfig, load_config
from {{ cookiecutter.package_name }}.engine import config_loader
from {{ cookiecutter.package_name }}.engine.config_fields import Section
from {{ cookiecutter.package_name }}.engine.config_loader import iterate_fields, load
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.lookup import find


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("train:\n  epochs: 2\n  seed: 2\n  max_steps: 2\n")
    environment = {"APP__TRAIN__SEED": "3", "APP__TRAIN__MAX_STEPS": "3", "HOME": "/"}
    words = ["--config", str(file), "--train.max_steps", "4"]
    train = load_config(words, environment=environment).train
    assert (train.epochs, train.seed, train.max_steps) == (2, 3, 4)
    assert train.momentum == Config().train.momentum


def test_what_is_so_in_all_runs_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "project.yaml"
    file.write_text("train:\n  seed: 2\n  epochs: 2\ntracking:\n  uri: http://ours\n")
    config = load_config(["--train.epochs", "3"], environment={})
    assert (config.train.seed, config.train.epochs) == (2, 3)
    assert config.tracking.uri == "http://ours"
    usual = {"MLFLOW_TRACKING_URI": "http://mine"}
    assert load_config([], environment=usual).tracking.uri is None, "the variable is read later"
    file.write_text("train:\n  sead: 2\n")
    with pytest.raises(UsageProblem, match="sead"):
        load_config([], environment={})


class ShopFields(Section):
    """What a feature of these tests is told."""

    port: int = Field(80, ge=1, description="of the shop")


def test_sections_of_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_loader, "find_sections", lambda: {"shop": ShopFields})
    file = tmp_path / "some.yaml"
    file.write_text("shop:\n  port: 81\ntrain:\n  seed: 2\n")
    words, environment = ["--config", str(file)], {"APP__SHOP__PORT": "82"}
    assert load_config(words, sections=["shop"], environment={}).shop.port == 81
    assert load_config(words, sections=["shop"], environment=environment).shop.port == 82
    told = [*words, "--shop.port", "83"]
    assert load_config(told, sections=["shop"], environment=environment).shop.port == 83
    with pytest.raises(UsageProblem, match=r"shop\.port: '0' is not allowed"):
        load_config(["--shop.port", "0"], sections=["shop"], environment={})

    passed_over = load_config(words, environment=environment)  # as any other command would
    assert passed_over == load_config(["--train.seed", "2"], environment={})
    with pytest.raises(UsageProblem, match=r"APP__SHOP__PART"):
        load_config([], environment={"APP__SHOP__PART": "1"})
    file.write_text("shop:\n  part: 81\n")
    with pytest.raises(UsageProblem, match=r"'shop\.part' is unknown. Did you mean 'shop\.port'\?"):
        load_config(words, environment={})


def test_resolved_configuration_reads_back(tmp_path: Path) -> None:
    config = load_config(["--train.learning_rate", "3e-4", "--tracking.register", "false"])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load_config(["--config", str(file)]) == config


def test_unset_from_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("train: {max_steps: 2}\n")
    assert load_config(["--config", str(file), "--train.max_steps", "null"]).train.max_steps is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--train.epoch", "3"],
            "flag: '--train.epoch' is unknown. Did you mean '--train.epochs'?",
        ),
        (["--train.epochs", "0"], "train.epochs: '0' is not allowed: input should be greater than"),
        (
            ["--train.epochs", "many"],
            "train.epochs: 'many' is not allowed: input should be a valid",
        ),
        (["--train.learning_rate", "nan"], "train.learning_rate: 'nan' is not allowed"),
        (["--runtime.strategy", "miror"], "input should be 'auto', 'single', 'mirrored', "),
        (["--config", "missing.yaml"], "--config: 'missing.yaml': No such file or directory."),
        (["--train.epochs"], "argument --train.epochs: expected one argument."),
        (["epochs"], "'epochs' is not expected here"),
    ],
)
def test_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        load_config(words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {epochs: 1}", "section: 'trian' is unknown. Did you mean 'train'?"),
        ("train: {epoch: 1}", "'train.epoch' is unknown. Did you mean 'train.epochs'?"),
        ("train: 3", "train must hold fields, not 3"),
        ("- a", "must hold sections with fields"),
        ("a: [", "is not YAML"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        load_config(["--config", str(file)])
    assert message in str(caught.value)


def test_a_model_may_be_added_while_the_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageProblem, match="'mine' is unknown"):
        load_config(["--model.name", "mine"])
    monkeypatch.setitem(registry.MODELS, "mine", print)
    assert load_config(["--model.name", "mine"]).model.name == "mine"
    assert find(registry.MODELS, "mine") is print


def test_every_name_of_the_registry_leads_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (registry.MODELS, registry.SOURCES, registry.LOSSES, registry.METRICS):
        for name in table:
            assert callable(find(table, name)), name
    monkeypatch.setitem(registry.MODELS, "mine", "model:mni")
    message = "registry.py: 'mine' is 'model:mni', but model.py has no 'mni'."
    with pytest.raises(UsageProblem, match=f"^{message}$"):
        find(registry.MODELS, "mine")


def test_unknown_environment_variable() -> None:
    with pytest.raises(UsageProblem) as caught:
        load_config(environment={"APP__TRAIN__EPOCH": "3"})
    assert "'APP__TRAIN__EPOCH' is unknown. Did you mean 'APP__TRAIN__EPOCHS'?" in str(caught.value)


def test_secrets_are_not_recorded() -> None:
    class Train(TrainConfig):
        """With a secret."""

        api_key: SecretStr | None = Field(None, description="of a service")

    class WithSecret(Config):
        train: Train = Field(default_factory=Train)

    words = ["--data.path", "postgresql://me:hunter2@host/db", "--train.api_key", "hunter2"]
    config = load(WithSecret, words)
    assert config.train.api_key.get_secret_value() == "hunter2"
    assert config.data.path == "postgresql://me:hunter2@host/db"
    assert "hunter2" not in config.to_yaml()
    assert config.without_secrets()["data"]["path"] == "postgresql://host/db"
    assert "api_key" not in config.without_secrets()["train"]
    assert "hunter2" not in repr(config.train)


def test_every_field_is_described() -> None:
    for name, field in iterate_fields(Config):
        assert field.description, name


def test_help_lists_every_field_without_tensorflow() -> None:
    code = (
        "import sys; from {{ cookiecutter.package_name }}.__main__ import train as main; "
        "main(['--help']); "
        "assert not {'tensorflow', 'keras', 'mlflow', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, _ in iterate_fields(Config):
        assert f"--{name} " in done.stdout
