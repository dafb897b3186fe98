"""What a model must beat: the most frequent class, and TF-IDF with logistic regression."""

from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer

from .config import Config
from .datasets.splits import stratified_order
from .engine.interfaces import DatasetSplits
from .networks.ngrams import best
from .preprocessing import Preprocessing, texts_of
from .report import baseline_row, majority_row
from .tokens import words

MOST_EXAMPLES = 50_000  # of training


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    train, validation, test = (
        preprocessing.encode_targets(split.targets) for split in data.splits.values()
    )
    few = stratified_order(data.train.targets, seed=0)[:MOST_EXAMPLES]
    features = _vectorizer(preprocessing)
    fitted = features.fit_transform(texts_of(data.train, few))
    seen = features.transform(texts_of(data.validation))
    _, model = best(fitted, train[few], seen, validation)
    scores = model.predict_proba(features.transform(texts_of(data.test)))
    return [
        majority_row(train, test, preprocessing),
        baseline_row("TF-IDF, logistic regression", test, scores, preprocessing),
    ]


def _vectorizer(preprocessing: Preprocessing) -> TfidfVectorizer:
    if preprocessing.tokens in ("character", "character_ngram"):
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    return TfidfVectorizer(
        tokenizer=words, token_pattern=None, ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )
