"""How near answers are to reference answers: exact match, and chrF."""

from collections import Counter
from collections.abc import Sequence

MAX_ORDER = 6  # of character n-grams
BETA = 2.0  # recall counts twice as much as precision


def exact_match(answers: Sequence[str], references: Sequence[str]) -> float:
    """Return the share of answers that are the reference, but for spaces and line ends.

    Args:
        answers: of the model.
        references: one for each.
    """
    pairs = zip(answers, references, strict=True)
    hits = [answer.split() == reference.split() for answer, reference in pairs]
    return sum(hits) / len(hits) if hits else float("nan")


def chrf(answers: Sequence[str], references: Sequence[str]) -> float:
    """Return chrF2 of all answers together, from 0 to 100 (Popović 2015).

    Character n-grams up to 6, without spaces, summed over the answers, as sacrebleu does: so it
    needs no words, and works for Chinese as for English.

    Args:
        answers: of the model.
        references: one for each.
    """
    precisions, recalls = [], []
    texts = [("".join(a.split()), "".join(r.split())) for a, r in _pair(answers, references)]
    for order in range(1, MAX_ORDER + 1):
        counts = [(_count(answer, order), _count(reference, order)) for answer, reference in texts]
        matches = sum((answer & reference).total() for answer, reference in counts)
        in_answers = sum(answer.total() for answer, _ in counts)
        in_references = sum(reference.total() for _, reference in counts)
        if in_answers and in_references:
            precisions.append(matches / in_answers)
            recalls.append(matches / in_references)
    if not sum(precisions) + sum(recalls):
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    factor = BETA**2
    return 100 * (1 + factor) * precision * recall / (factor * precision + recall)


def _pair(answers: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(answers, references, strict=True))


def _count(text: str, order: int) -> "Counter[str]":
    return Counter(text[i : i + order] for i in range(len(text) - order + 1))
