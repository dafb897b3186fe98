"""Baselines that a model must beat: the majority class, and TF-IDF with logistic regression."""

from typing import Any

from .config import Config
from .datasets.splits import shuffle_stratified
from .engine.interfaces import DatasetSplits, Split
from .networks.ngrams import select_strength
from .preprocessing import Preprocessing, texts_of
from .report import baseline_row, majority_row
from .tokens import split_words

MAX_EXAMPLES = 50_000  # training texts of the logistic regression


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Return the name and test metrics of each baseline.

    Args:
        data: the three splits.
        preprocessing: fitted on the training split.
        config: the configuration.
    """
    train, validation, test = (
        preprocessing.encode_targets(split.targets) for split in data.splits.values()
    )
    sample = shuffle_stratified(data.train.targets, seed=0)[:MAX_EXAMPLES]
    vectorizer = _make_vectorizer(preprocessing)
    inputs = vectorizer.fit_transform(texts_of(data.train, sample))
    held_out = vectorizer.transform(texts_of(data.validation))
    _, model = select_strength(inputs, train[sample], held_out, validation)
    scores = model.predict_proba(vectorizer.transform(texts_of(data.test)))
    return [
        majority_row(train, test, preprocessing),
        baseline_row("TF-IDF, logistic regression", test, scores, preprocessing),
    ]


def simple_inputs(split: Split, preprocessing: Preprocessing) -> Any:
    """Return TF-IDF of the texts of a split, as a sparse matrix (size, features).

    Args:
        split: its texts.
        preprocessing: knows the kind of tokens.
    """
    return _make_vectorizer(preprocessing).fit_transform(texts_of(split))


def _make_vectorizer(preprocessing: Preprocessing) -> Any:
    """Return scikit-learn's ``TfidfVectorizer`` for the kind of tokens."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if preprocessing.tokenizer in ("character", "character_ngram"):
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    return TfidfVectorizer(
        tokenizer=split_words, token_pattern=None, ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )
