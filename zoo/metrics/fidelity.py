"""How near a picture is to the true one: PSNR and SSIM, of levels from 0 to 255."""

from __future__ import annotations

import numpy as np

PEAK = 255.0
SIGMA, REACH = 1.5, 5  # of SSIM's window, a Gaussian of 11 x 11 pixels


def psnr(error: float) -> float:
    """Returns the peak signal-to-noise ratio in dB of a mean squared error; infinite for none."""
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def ssim(true: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the structural similarity of each pair of pictures, (n,), at most 1.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861: equation 13 under a Gaussian window of
    11 x 11 pixels, K1 = 0.01, K2 = 0.03; the mean over the places where it fits.

    Args:
        true: Levels (n, height, width), sides of at least 11.
        other: Likewise.

    Raises:
        ValueError: The shapes differ, or a side is too short.
    """
    if true.shape != other.shape or true.ndim != 3 or min(true.shape[1:]) < 2 * REACH + 1:
        raise ValueError(
            f"ssim: got {true.shape} and {other.shape}; expected equal shapes (n, height, width) "
            f"with sides of {2 * REACH + 1} or more."
        )
    x, y = true.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y, xx, yy, xy = (_window(each) for each in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    both = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    similar = (2 * both + c1) * (2 * (xy - both) + c2)
    similar /= (squares + c1) * (xx + yy - squares + c2)
    found: np.ndarray = similar[:, REACH:-REACH, REACH:-REACH].mean(axis=(1, 2))
    return found


def _window(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    found: np.ndarray = gaussian_filter(values, (0, SIGMA, SIGMA), radius=(0, REACH, REACH))
    return found
