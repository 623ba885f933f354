"""The Frechet distance between two clouds of points, each taken for a Gaussian.

Source: Dowson & Landau 1982, J. Multivariate Analysis 12(3), equation 4; Heusel et al. 2017,
arXiv:1706.08500, measure pictures by it, on a network's features.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Returns |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)), at least 0.

    The last trace is the sum of the singular values of R1 R2^T, where R is the triangle of the QR
    decomposition of centred points, R^T R = (n - 1) C: no root of a matrix is taken, which
    covariances without full rank, e.g. of more dimensions than points, do not have in numbers.

    Args:
        first: (n, dimensions), n of at least 2.
        second: (m, dimensions), m of at least 2.

    Raises:
        ValueError: There are fewer than two points, or the dimensions differ.
    """
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"frechet_distance: got points {first.shape} and {second.shape}; expected two or more "
            "of each, of equal dimensions."
        )
    means: list[np.ndarray] = []
    triangles: list[Any] = []
    for points in (first, second):
        values = np.asarray(points, np.float64)
        means.append(values.mean(axis=0))
        centred = (values - means[-1]) / np.sqrt(len(values) - 1)
        triangles.append(np.asarray(np.linalg.qr(centred, mode="r")))
    spread = sum(float(np.square(triangle).sum()) for triangle in triangles)
    common = np.linalg.svdvals(triangles[0] @ triangles[1].T).sum()
    apart = float(np.square(means[0] - means[1]).sum())
    return max(0.0, apart + spread - 2 * float(common))
