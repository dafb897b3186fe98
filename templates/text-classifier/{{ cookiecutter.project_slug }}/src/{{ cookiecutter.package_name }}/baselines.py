"""What a model must beat: the most frequent class, and TF-IDF with logistic regression."""

from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from .config import Config
from .contract import Data
from .objective import mean_loss
from .preprocessing import Preprocessing, texts_of
from .report import baseline_row, majority_row
from .splits import stratified_order
from .tokens import words

MOST_EXAMPLES = 50_000  # of training
STRENGTHS = (1.0, 4.0, 16.0)  # inverse regularisation; the validation split chooses


def measure(data: Data, preprocessing: Preprocessing, config: Config) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    train, validation, test = (
        preprocessing.encode_targets(split.targets) for split in data.splits.values()
    )
    few = stratified_order(data.train.targets, seed=0)[:MOST_EXAMPLES]
    features = _vectorizer(preprocessing)
    fitted = features.fit_transform(texts_of(data.train, few))
    seen, tried = features.transform(texts_of(data.validation)), []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300)
        if preprocessing.separator:
            model = OneVsRestClassifier(model)
        model.fit(fitted, train[few])
        loss = mean_loss(validation, model.predict_proba(seen))
        tried.append((loss, strength, model))
    model = min(tried, key=lambda row: row[:2])[2]
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
