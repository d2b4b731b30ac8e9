"""Does the embedding know the title, and does it know what happens?"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from toomuchtv.diagnosis.content_removal import CONTENTS
from toomuchtv.diagnosis.embed import Embedder, Tally
from toomuchtv.diagnosis.probe_clips import ProbeMoments
from toomuchtv.diagnosis.results import Missing, ProbeFigures, Sense

_ALPHAS = tuple(10.0**power for power in range(-1, 6))

#: Clip-equivalents of the progress bar that fitting one probe counts for.
FIT_COST = 20


def probe(
    moments: ProbeMoments, target: str, *, trained: Embedder, fresh: Embedder, tally: Tally
) -> tuple[ProbeFigures, ...] | Missing:
    """Fit linear classifiers to what the encoders make of moments, and score them.

    Args:
        moments: What to name, and in which folds.
        target: `title` or `event`.
        trained: The run's encoders: by every content and layer.
        fresh: The same with fresh weights: with everything in the clips, at the embedding.
        tally: Told of each fit.
    """
    figures: list[ProbeFigures] = []
    for embedder, is_trained in ((trained, True), (fresh, False)):
        vectors = embedder.embed(
            moments.row,
            moments.start,
            what=f"{target} probe" if is_trained else f"{target} probe, fresh weights",
            altered=is_trained,
        )
        kept = moments.where(vectors.kept)
        if len(set(kept.label.tolist())) < 2 or len(set(kept.fold.tolist())) < 2:
            return Missing(reason=f"only {len(kept)} of the moments to probe could be read")
        for sense, content, layer in probed(is_trained):
            layers = vectors.embedding if layer == "embedding" else vectors.features
            folds, chance = score(layers[sense, content], kept)
            if not folds:
                return Missing(reason="no fold's fit has two labels to tell apart")
            tally.add(FIT_COST, f"{target} probe, {sense}, {content}")
            figures.append(
                ProbeFigures(
                    target=target,
                    sense=sense,
                    content=content,
                    layer=layer,
                    trained=is_trained,
                    accuracy=float(np.mean(folds)),
                    folds=folds,
                    chance=chance,
                    classes=len(set(kept.label.tolist())),
                    clips=len(kept),
                )
            )
    return tuple(figures)


def probed(is_trained: bool) -> list[tuple[Sense, str, str]]:
    """What is probed: sense, content and layer."""
    senses: tuple[Sense, ...] = ("video", "audio")
    contents = {
        sense: tuple(CONTENTS[sense]) if is_trained else ("everything",) for sense in senses
    }
    embeddings = [(sense, content, "embedding") for sense in senses for content in contents[sense]]
    features = [(sense, "everything", "features") for sense in senses] if is_trained else []
    return embeddings + features


def score(values: Tensor, moments: ProbeMoments) -> tuple[tuple[float, ...], float]:
    """Accuracy in each fold of a classifier fitted to the others, and that of the commonest label.

    Standardized; ridge regression to one column a class, its strength chosen inside the fit's own
    moments by leaving one out. A fold whose fit has one label only is left out.
    """
    inputs = values.double().numpy()
    folds, chances = [], []
    # Products of this size are done before a second thread has woken up.
    with threadpool_limits(1):
        for fold in sorted(set(moments.fold.tolist())):
            test = moments.fold == fold
            fit_labels = moments.label[~test]
            if len(set(fit_labels.tolist())) < 2:
                continue
            classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=_ALPHAS))
            classifier.fit(inputs[~test], fit_labels)
            folds.append(float(classifier.score(inputs[test], moments.label[test])))
            names, counts = np.unique(fit_labels, return_counts=True)
            chances.append(float(np.mean(moments.label[test] == names[np.argmax(counts)])))
    return tuple(folds), float(np.mean(chances)) if chances else 0.0
