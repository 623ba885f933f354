"""What is no network, and what a network has to beat. The table, in plain text.

    zoo.baseline("hog_svm", data="mnist5k")
    zoo.baseline("ngram", data="pydoc_topics")
    zoo.baseline("nearest", data="waveforms")
    zoo.baseline("linear_prediction", data="sine")
    zoo.baseline("q_learning", data="gym:FrozenLake-v1")

Each chooses its one free setting on the validation split and reports on the test split.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

__all__ = ["BASELINES", "Baseline", "find"]


class Baseline(NamedTuple):
    """One row of the table.

    Attributes:
        name: What users type.
        title: What people call it.
        method: The function that fits it, `module:function`: a classifier, or what measures a
            text, a signal or an agent: `zoo.baselines.texts`, `signals`, `tabular`.
        settings: Keyword arguments of that function.
        paper: Short citation.
        year: When the paper appeared.
        task: What it competes in, a key of `zoo.catalog.TASKS`.
        reads: Kinds of the columns of the data that it can be measured on.
        data: What it is measured on when nothing else is asked for.
    """

    name: str
    title: str
    method: str
    settings: dict[str, Any]
    paper: str
    year: int
    task: str = "classify"
    reads: tuple[tuple[str, ...], ...] = (("image", "class"),)
    data: str = "mnist5k"


_knn = partial(
    Baseline,
    method="zoo.baselines.neighbours:neighbours",
    reads=(("image", "class"), ("series", "class")),
    paper="Cover & Hart, IEEE Trans. Inf. Theory 13(1)",
    year=1967,
)
_mixture = partial(
    Baseline,
    method="zoo.baselines.mixtures:mixtures",
    paper="Dempster et al., J. R. Stat. Soc. B 39(1)",
    year=1977,
)
_forecast = partial(
    Baseline,
    method="zoo.baselines.signals:plain",
    paper="Yule, Phil. Trans. R. Soc. A 226",
    year=1927,
    task="forecast",
    reads=(("series", "series"),),
    data="sine",
)
_text = partial(Baseline, task="language", reads=(("tokens", "count"),), data="pydoc_topics")
_compressor = partial(_text, method="zoo.baselines.texts:compressor")
_agent = partial(Baseline, task="dqn", reads=(("features", "class"),), data="gym:FrozenLake-v1")
_planner = partial(_agent, method="zoo.baselines.tabular:planned")
_learner = partial(_agent, method="zoo.baselines.tabular:learnt")
_ROWS = (
    _knn("nearest", "The nearest neighbour, L2", settings={"metric": "l2", "most": 1}),
    _knn("knn_l1", "k nearest neighbours, L1", settings={"metric": "l1"}),
    _knn("knn_l2", "k nearest neighbours, L2", settings={"metric": "l2"}),
    Baseline(
        "hog_svm",
        "Histograms of oriented gradients, linear SVM",
        method="zoo.baselines.gradients:gradients",
        settings={},
        paper="Dalal & Triggs, CVPR",
        year=2005,
    ),
    Baseline(
        "bag_of_words",
        "Bag of visual words, linear SVM",
        method="zoo.baselines.words:words",
        settings={},
        paper="Csurka et al., ECCV workshop",
        year=2004,
    ),
    Baseline(
        "pca",
        "Principal components, linear SVM",
        method="zoo.baselines.components:components",
        settings={},
        paper="Hotelling, J. Educ. Psychol. 24",
        year=1933,
    ),
    Baseline(
        "kmeans",
        "Features of patches by k-means, linear SVM",
        method="zoo.baselines.kmeans:kmeans",
        settings={},
        paper="Coates et al., AISTATS, PMLR 15",
        year=2011,
    ),
    Baseline(
        "sparse_coding",
        "Sparse codes of patches, linear SVM",
        method="zoo.baselines.sparse_coding:sparse_coding",
        settings={},
        paper="Olshausen & Field, Nature 381",
        year=1996,
    ),
    _mixture("mixture", "Mixtures of Gaussians", settings={"density": "gaussian"}),
    _mixture("mixture_binary", "Mixtures of binary pixels", settings={"density": "bernoulli"}),
    Baseline(
        "kernel_svm",
        "SVM with a Gaussian kernel",
        method="zoo.baselines.kernel_svm:kernel_svm",
        settings={},
        paper="Cortes & Vapnik, Machine Learning 20(3)",
        year=1995,
    ),
    _text(
        "ngram",
        "n-gram, Witten-Bell smoothing",
        method="zoo.baselines.texts:ngram",
        settings={},
        paper="Witten & Bell, IEEE Trans. Inf. Theory 37(4)",
        year=1991,
    ),
    Baseline(
        "ngram_bayes",
        "Naive Bayes of n-grams, Witten-Bell smoothing",
        method="zoo.baselines.ngram_bayes:ngram_bayes",
        settings={},
        paper="Peng & Schuurmans, ECIR, LNCS 2633",
        year=2003,
        reads=(("tokens", "class"),),
        data="names",
    ),
    _compressor(
        "zlib",
        "zlib: what stands before, then 32 kB of it",
        settings={"kind": "zlib"},
        paper="Deutsch, RFC 1951",
        year=1996,
    ),
    _compressor(
        "bz2",
        "bzip2: blocks, sorted",
        settings={"kind": "bz2"},
        paper="Burrows & Wheeler, DEC SRC 124",
        year=1994,
    ),
    _compressor(
        "xz",
        "xz: all that stands before",
        settings={"kind": "xz"},
        paper="Ziv & Lempel, IEEE Trans. Inf. Theory 23(3)",
        year=1977,
    ),
    _compressor(
        "ppmd",
        "PPMd of order 16, where pyppmd is installed",
        settings={"kind": "ppmd"},
        paper="Cleary & Witten, IEEE Trans. Commun. 32(4)",
        year=1984,
    ),
    _forecast("last_value", "The last value of a signal", settings={"guess": "last value"}),
    _forecast("period_before", "The value a period before", settings={"guess": "a period before"}),
    _forecast("linear_prediction", "Linear prediction", settings={"guess": "linear prediction"}),
    _forecast(
        "autoregression",
        "Autoregression of each window, where statsmodels is installed",
        method="zoo.baselines.signals:autoregression",
        settings={},
    ),
    _forecast(
        "exponential_smoothing",
        "A level and a damped trend, where statsmodels is installed",
        method="zoo.baselines.signals:exponential_smoothing",
        settings={},
        paper="Holt, Int. J. Forecasting 20(1)",
        year=1957,
    ),
    _planner(
        "value_iteration",
        "The best policy of known probabilities, by sweeps over the values",
        settings={"by": "values"},
        paper="Bellman, Dynamic Programming",
        year=1957,
    ),
    _planner(
        "policy_iteration",
        "The same, by better and better policies",
        settings={"by": "policies"},
        paper="Howard, Dynamic Programming and Markov Processes",
        year=1960,
    ),
    _learner(
        "q_learning",
        "A table of action values, by the best action that follows",
        settings={"kind": "q_learning"},
        paper="Watkins, Learning from delayed rewards",
        year=1989,
    ),
    _learner(
        "sarsa",
        "The same, by the action that follows",
        settings={"kind": "sarsa"},
        paper="Rummery & Niranjan, CUED/F-INFENG/TR 166",
        year=1994,
    ),
)

BASELINES = {row.name: row for row in _ROWS}


def find_baseline(name: str) -> Baseline:
    """Returns the row called `name`.

    Raises:
        ValueError: There is no such row; the line suggests one.
    """
    from zoo.common.settings import nearest

    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}. {nearest(name, BASELINES)}")
    return BASELINES[name]
