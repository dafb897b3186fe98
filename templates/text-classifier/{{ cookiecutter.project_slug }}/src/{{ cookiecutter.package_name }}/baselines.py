"""What a model must beat: the most frequent class, and TF-IDF with logistic regression."""

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from .config import Config
from .contract import Data
from .preprocessing import Preprocessing, texts_of
from .report import measure_probabilities
from .splits import stratified_order
from .tokens import words

MOST_EXAMPLES = 50_000  # of training
STRENGTHS = (1.0, 4.0, 16.0)  # inverse regularisation; the validation split chooses
SHOWN = ("accuracy", "loss", "macro_f1")


def measure(data: Data, preprocessing: Preprocessing, config: Config) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    train, validation, test = (
        preprocessing.encode_targets(split.targets) for split in data.splits.values()
    )
    shares = np.bincount(train, minlength=len(preprocessing.classes)) / len(train)
    few = stratified_order(train, seed=0)[:MOST_EXAMPLES]
    features = _vectorizer(preprocessing)
    fitted = features.fit_transform(texts_of(data.train, few))
    seen, tried = features.transform(texts_of(data.validation)), []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300).fit(fitted, train[few])
        loss = log_loss(validation, model.predict_proba(seen), labels=model.classes_)
        tried.append((loss, strength, model))
    model = min(tried, key=lambda row: row[:2])[2]
    scores = np.zeros((len(test), len(preprocessing.classes)))
    scores[:, model.classes_] = model.predict_proba(features.transform(texts_of(data.test)))
    return [
        _row("majority class", test, np.tile(shares, (len(test), 1)), preprocessing),
        _row("TF-IDF, logistic regression", test, scores, preprocessing),
    ]


def _vectorizer(preprocessing: Preprocessing) -> TfidfVectorizer:
    if preprocessing.tokens in ("character", "character_ngram"):
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    return TfidfVectorizer(
        tokenizer=words, token_pattern=None, ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )


def _row(
    name: str, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    metrics = measure_probabilities(truth, scores, preprocessing)
    return {"name": name, "metrics": {f"test/{metric}": metrics[metric] for metric in SHOWN}}
