r"""Linear algebra of trained infinite networks: least squares under gradient flow, and posteriors.

Gradient flow on ``1/2 |f(X) - y|^2 + ridge/2 |theta - theta_0|^2`` moves the outputs of a network
that is linear in its parameters by

    f_t(x) = f_0(x) + P_t (y - f_0(X)),   P_t = Theta_xX g_t(Theta + ridge),
    g_t(M) = M^{-1} (1 - e^{-M t}),

``Theta`` being the tangent kernel; ``f_0`` is a Gaussian process of covariance ``K``. Hence

    mean P_t y,    covariance K - P_t K_Xx - K_xX P_t^T + P_t K_XX P_t^T.

If the read-out alone is trained, ``Theta = K``; with targets to which noise of variance `ridge` is
added, drawn once per network, the covariance is ``K - K_xX g_2t(K + ridge) K_Xx``, that of the
Bayesian posterior at ``t = infinity``.

Source: Lee et al. (2019), sections 2.2 and 2.3; noisy targets: Matthews et al. (2017),
"Sample-then-optimize posterior samples for Bayesian linear models".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import KernelError

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Trained:
    """A matrix over training inputs, inverted as far as a time allows.

    Attributes
    ----------
    kernel : ndarray, shape (n, n)
        The tangent kernel, or the covariance of outputs if the read-out alone is trained.
    ridge : float
        What is added to its diagonal.
    name : str
        What it is called in messages.
    """

    kernel: Array
    ridge: float
    name: str

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues of the matrix with its ridge, none below zero, and eigenvectors."""
        from scipy.linalg import eigh

        values, vectors = eigh(self.kernel)
        return np.maximum(values, 0.0) + self.ridge, vectors

    @cached_property
    def factor(self) -> Array:
        """The lower Cholesky factor of the matrix with its ridge.

        Raises
        ------
        KernelError
            If the matrix is singular to rounding; the message names a ridge that helps.
        """
        from scipy.linalg import LinAlgError, cholesky

        size = len(self.kernel)
        try:
            factor: Array = cholesky(self.kernel + self.ridge * np.eye(size), lower=True)
        except LinAlgError:
            raise self._singular() from None
        if self._reciprocal(factor) < size * EPS:
            raise self._singular()
        return factor

    @property
    def condition(self) -> float:
        """Condition number of the matrix with its ridge, in the 1-norm, as LAPACK estimates it."""
        return 1.0 / self._reciprocal(self.factor)

    def _reciprocal(self, factor: Array) -> float:
        from scipy.linalg.lapack import dpocon

        norm = np.abs(self.kernel + self.ridge * np.eye(len(self.kernel))).sum(axis=0).max()
        return float(dpocon(np.asfortranarray(factor), norm, uplo="L")[0])

    def _singular(self) -> KernelError:
        size = float(np.abs(np.diagonal(self.kernel)).max())
        jitter = float(f"{max(size, EPS) * len(self.kernel) * 1e-12:.0e}")
        equal = _equal_rows(self.kernel)
        why = (
            f"training inputs {equal[0]} and {equal[1]} are equal"
            if equal
            else ("its smallest eigenvalue is lost in rounding")
        )
        return KernelError(
            f"the inverse of the {self.name} of {len(self.kernel)} training inputs "
            f"with ridge = {self.ridge:g}",
            f"it is singular: {why}",
            f"pass ridge={jitter:g} or more (a jitter of the diagonal), a finite time, or leave "
            "inputs out",
        )

    def applied(self, columns: Array, time: float) -> Array:
        """Return ``g_t`` times columns; at infinite time the solution of a system."""
        if np.isinf(time):
            from scipy.linalg import cho_solve

            return np.asarray(cho_solve((self.factor, True), columns))
        values, vectors = self.spectrum
        return np.asarray(vectors @ (_integrated(values, time)[:, None] * (vectors.T @ columns)))

    def log_density(self, columns: Array) -> float:
        """Return the sum over columns of their Gaussian log density with this covariance."""
        from scipy.linalg import solve_triangular

        white = solve_triangular(self.factor, columns, lower=True)
        size, count = columns.shape
        logs = np.log(np.diagonal(self.factor)).sum() + size * np.log(2 * np.pi) / 2
        return float(-np.sum(white**2) / 2 - count * logs)


def _integrated(values: Array, time: float) -> Array:
    """Return ``(1 - exp(-v t)) / v``, whose limit at zero is t."""
    flat = values * time < EPS
    safe = np.where(flat, 1.0, values)
    return np.where(flat, time, -np.expm1(-safe * time) / safe)


def _equal_rows(kernel: Array) -> tuple[int, int] | None:
    """Return the first two inputs that are equal: their kernel has three equal entries."""
    own = np.diagonal(kernel)
    tolerance = 8 * EPS * np.abs(own)
    same = np.abs(kernel - own[:, None]) <= tolerance[:, None]
    same &= np.abs(kernel - own[None, :]) <= tolerance[None, :]
    first, second = np.nonzero(np.triu(same, 1))
    return (int(first[0]), int(second[0])) if first.size else None


def posterior(trained: Trained, cross: Array, prior: Array, time: float) -> Array:
    """Return the covariance where the read-out alone is trained, on noisy targets.

    Parameters
    ----------
    trained : Trained
        Covariance of the outputs over the training inputs.
    cross, prior : ndarray, shapes (T, n) and (T, T)
        The same between test and training inputs, and over the test inputs.
    time : float
        Time; infinite for the Bayesian posterior.
    """
    return _symmetric(prior - cross @ trained.applied(cross.T, 2 * time))


def ensemble_covariance(
    trained: Trained, tangent: Array, covariances: tuple[Array, Array, Array], time: float
) -> Array:
    """Return the covariance over networks trained from independent initial values.

    Parameters
    ----------
    trained : Trained
        Tangent kernel over the training inputs.
    tangent : ndarray, shape (T, n)
        The same between test and training inputs.
    covariances : tuple of ndarray
        Covariances of the outputs: ``(n, n)`` training inputs, ``(T, n)``, ``(T, T)`` test inputs.
    time : float
        Time, or infinity.
    """
    own, cross, prior = covariances
    transfer = trained.applied(tangent.T, time).T
    mixed = transfer @ cross.T
    return _symmetric(prior - mixed - mixed.T + transfer @ own @ transfer.T)


def _symmetric(matrix: Array) -> Array:
    return (matrix + matrix.T) / 2
