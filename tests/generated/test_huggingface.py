"""Exported language models, loaded by ``transformers`` and PEFT in an environment of their own."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import project_python, transformers_python

pytestmark = [pytest.mark.slow, pytest.mark.minutes(6)]

# Every family of presets with all weights trained, with adapters, and with adapters of a rounded
# network; networks from scratch in each of their forms. The adapters are as if they had learnt.
EXPORTS = """
import json, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from demo.config import load_config
from demo.engine.artifact import Artifact
from demo.engine.export.formats import Export
from demo.exports import adapter, check, huggingface
from demo.networks import gpt, presets, tuning
from demo.task import task
from demo.tokens import fit_bytes, fit_subwords, read_preset
from tests.tiny_presets import FAMILIES, write_preset

check.find_python = lambda *modules: sys.argv[1]
TUNINGS = ([], ["lora", "all"], ["qlora", "query,value", "int4"])
FLAGS = ("--model.tuning", "--model.lora_targets", "--model.quantization")
count = 0


def write(writer, export, name):
    global count
    count += 1
    folder = Path(f"out-{count}")
    folder.mkdir()
    report = writer.write(export, folder).report
    print(json.dumps([name, report["loader"], report["difference"]]), flush=True)


for family in FAMILIES:
    preset = write_preset(Path("presets", family), family)
    preprocessing = SimpleNamespace(
        tokenizer=read_preset(preset), context=48, kind="chat", chat_template=None
    )
    for words in TUNINGS:
        fields = [part for pair in zip(FLAGS, words) for part in pair]
        fields += ["--model.name", "preset", "--model.preset", str(preset)]
        config = load_config(fields, environment={})
        network = presets.build(config, preprocessing)
        for layer in tuning.find_adapted(network):
            if layer.rank:
                values = np.random.default_rng(0).normal(size=layer.lora_b.shape)
                layer.lora_b.assign(values * 0.2)
        export = Export(Artifact(network, preprocessing, task), config, "a-run")
        write(huggingface, export, f"{family} {words}")
        if words:
            write(adapter, export, f"{family} {words} adapter")
TEXTS = ["the quick brown fox jumps over the lazy dog " * 20]
for form, activation in (("llama", "gelu"), ("gpt2", "gelu"), ("gpt2", "gelu_tanh")):
    for fit in (fit_bytes, fit_subwords):
        tokenizer = fit(TEXTS, None)
        preprocessing = SimpleNamespace(
            tokenizer=tokenizer, context=48, kind="chat", chat_template=None
        )
        network = gpt.build(tokenizer.size, 48, 2, 2, 16, form=form, activation=activation)
        for weight in network.weights:
            mean = 1.0 if weight.name in ("scale", "gamma") else 0.0
            weight.assign(np.random.default_rng(0).normal(mean, 0.2, weight.shape))
        config = load_config([], environment={})
        export = Export(Artifact(network, preprocessing, task), config, "a-run")
        write(huggingface, export, f"{form} {activation} {fit.__name__}")
"""


def test_transformers_compute_the_same(aistart: Callable, isolated: Path) -> None:
    """Logits of seven families and three forms of our own, texts, chats and adapters."""
    assert aistart("new", "language-model", "demo", "-y", "--no-git").exit_code == 0
    demo = isolated / "demo"
    try:
        python = transformers_python()
    except subprocess.CalledProcessError:
        pytest.skip("torch and transformers are in no lock, and pip does not get them here")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{demo / 'src'}{os.pathsep}{demo}",
        "KERAS_BACKEND": "tensorflow",
    }
    done = subprocess.run(
        [str(project_python()), "-c", EXPORTS, str(python)],
        cwd=demo,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(rows) == 7 * 5 + 3 * 2
    for name, library, difference in rows:
        assert difference <= 1e-4, name
        assert library.startswith("transformers "), name
        assert ("PEFT" in library) == name.endswith("adapter"), name
