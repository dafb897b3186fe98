"""Preference pairs: rows, and what of them counts."""

import pytest

from {{ cookiecutter.package_name }}.datasets.chats import DEFAULT_TEMPLATE, ChatTemplate
from {{ cookiecutter.package_name }}.datasets.preferences import read_pair, render_pair
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.tokens import SPECIAL_TOKENS

ASKED = [{"role": "user", "content": "2 + 2?"}]


def say(text: str) -> dict:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": ASKED, "chosen": "4", "rejected": "5"},
        {"prompt": ASKED, "chosen": [say("4")], "rejected": [say("5")]},
        {"chosen": [*ASKED, say("4")], "rejected": [*ASKED, say("5")]},
    ],
)
def test_forms_of_pairs(record: dict) -> None:
    assert read_pair(record) == (ASKED, "4", "5")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, "rejected: expected a text or messages."),
        ({"chosen": "b", "rejected": "c"}, "prompt: it is missing."),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "rejected: it is empty."),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "are the same text."),
        ({"prompt": [say("a")], "chosen": "b", "rejected": "c"}, "prompt: messages: number 1 is"),
        (
            {
                "chosen": [*ASKED, say("4")],
                "rejected": [{"role": "user", "content": "x"}, say("5")],
            },
            "answer different chats",
        ),
        ({"prompt": "a", "chosen": ASKED, "rejected": "b"}, "the last message is no answer"),
    ],
)
def test_pairs_that_are_wrong(record: dict, message: str) -> None:
    with pytest.raises(DataProblem) as caught:
        read_pair(record)
    assert message in str(caught.value)


def test_the_answer_alone_counts() -> None:
    prompt = [*ASKED, say("3"), {"role": "user", "content": "Sure?"}]
    pair = read_pair({"prompt": prompt, "chosen": "No, 4", "rejected": "Yes"})
    chosen, rejected = render_pair(ChatTemplate(DEFAULT_TEMPLATE, SPECIAL_TOKENS), pair)
    assert [text for text, counts in chosen if counts] == ["No, 4<end>"]
    assert [text for text, counts in rejected if counts] == ["Yes<end>"]
    assert "".join(text for text, counts in chosen if not counts).endswith("<assistant>")
