//! A Gaussian process: what to expect of a function where it has not been looked at (Rasmussen and Williams 2006).

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::domain::spec::matrix::{GaussianProcess, Kernel};

/// Added to the diagonal, so that equal points do not make the matrix singular; as scikit-learn.
const NOISE: f64 = 1e-10;
/// The least and the largest length scale; as scikit-learn.
const LENGTHS: (f64, f64) = (1e-5, 1e5);

/// What is expected between some observations.
#[derive(Debug, Clone)]
pub(super) struct Process {
    kernel: Matern,
    points: Vec<Vec<f64>>,
    factor: Cholesky<f64, Dyn>,
    weights: DVector<f64>,
    /// The logarithm of how likely the observations are.
    pub likelihood: f64,
}

impl Process {
    /// Fits points and their values with a length scale; `None` when the numbers do not allow it.
    pub fn fit(spec: &GaussianProcess, length: f64, points: &[Vec<f64>], values: &[f64]) -> Option<Self> {
        let kernel = Matern::new(spec, length);
        let n = points.len();
        let near = DMatrix::from_fn(n, n, |i, j| kernel.of(&points[i], &points[j]));
        // More noise until it can be factored: points that lie too close together.
        let noises = [NOISE, 1e-8, 1e-6, 1e-4];
        let factor = noises.iter().find_map(|noise| Cholesky::new(&near + DMatrix::identity(n, n) * *noise))?;
        let values = DVector::from_column_slice(values);
        let weights = factor.solve(&values);
        let half_determinant: f64 = factor.l_dirty().diagonal().iter().map(|entry| libm::log(*entry)).sum();
        let constant = n as f64 / 2.0 * libm::log(2.0 * std::f64::consts::PI);
        let likelihood = -0.5 * values.dot(&weights) - half_determinant - constant;
        likelihood.is_finite().then(|| Self { kernel, points: points.to_vec(), factor, weights, likelihood })
    }

    /// Fits with the length scale under which the observations are likeliest, climbing from the given one.
    pub fn fit_best(spec: &GaussianProcess, starts: &[f64], points: &[Vec<f64>], values: &[f64]) -> Option<Self> {
        let fit = |length: f64| Self::fit(spec, length.clamp(LENGTHS.0, LENGTHS.1), points, values);
        let mut best: Option<Self> = None;
        for start in starts {
            let (mut here, mut at, mut step) = (fit(*start), *start, 1.0);
            while step > 0.05 {
                let tried = [libm::exp(step), libm::exp(-step)].map(|factor| (at * factor, fit(at * factor)));
                let likelihood = |of: &Option<Self>| of.as_ref().map_or(f64::NEG_INFINITY, |of| of.likelihood);
                let better = tried.into_iter().find(|(_, other)| likelihood(other) > likelihood(&here) + 1e-6);
                match better {
                    Some((length, other)) if (LENGTHS.0..=LENGTHS.1).contains(&length) => (at, here) = (length, other),
                    _ => step /= 2.0,
                }
            }
            if let Some(found) = here
                && best.as_ref().is_none_or(|best| found.likelihood > best.likelihood)
            {
                best = Some(found);
            }
        }
        best
    }

    /// The expected value at a point, and the standard deviation around it.
    pub fn expect(&self, point: &[f64]) -> (f64, f64) {
        let near = DVector::from_iterator(self.points.len(), self.points.iter().map(|p| self.kernel.of(p, point)));
        let mean = near.dot(&self.weights);
        let explained = self.factor.l_dirty().solve_lower_triangular(&near).map_or(0.0, |v| v.norm_squared());
        (mean, libm::sqrt((1.0 - explained).max(0.0)))
    }
}

/// How alike points are, 1 for equal ones.
#[derive(Debug, Clone)]
struct Matern {
    kernel: Kernel,
    nu: f64,
    length: f64,
    /// 2^(1−ν) / Γ(ν).
    factor: f64,
}

impl Matern {
    fn new(spec: &GaussianProcess, length: f64) -> Self {
        let factor = libm::pow(2.0, 1.0 - spec.nu) / libm::tgamma(spec.nu);
        Self { kernel: spec.kernel, nu: spec.nu, length, factor }
    }

    fn of(&self, a: &[f64], b: &[f64]) -> f64 {
        let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        let distance = libm::sqrt(square) / self.length;
        if self.kernel == Kernel::Rbf {
            return libm::exp(-0.5 * distance * distance);
        }
        // Half-integer smoothness has closed forms.
        match self.nu {
            0.5 => libm::exp(-distance),
            1.5 => {
                let x = libm::sqrt(3.0) * distance;
                (1.0 + x) * libm::exp(-x)
            }
            2.5 => {
                let x = libm::sqrt(5.0) * distance;
                (1.0 + x + x * x / 3.0) * libm::exp(-x)
            }
            nu => {
                let x = libm::sqrt(2.0 * nu) * distance;
                // Beyond this the value is less than 1e-300; below this it is 1.
                if x > 690.0 {
                    0.0
                } else if x < 1e-10 {
                    1.0
                } else {
                    (self.factor * libm::pow(x, nu) * bessel_k(nu, x)).min(1.0)
                }
            }
        }
    }
}

/// The modified Bessel function of the second kind, K_ν(x) = ∫₀^∞ e^(−x cosh t) cosh(νt) dt for x > 0: the integrand
/// falls so fast that the trapezoidal rule is exact to the last digits.
fn bessel_k(nu: f64, x: f64) -> f64 {
    const STEP: f64 = 1.0 / 32.0;
    let term = |t: f64| {
        let exponent = -x * libm::cosh(t);
        // cosh(νt) as two powers: it may be larger than a float while the product is small.
        0.5 * (libm::exp(exponent + nu * t) + libm::exp(exponent - nu * t))
    };
    let mut sum = 0.5 * term(0.0);
    let mut t = STEP;
    loop {
        let next = term(t);
        sum += next;
        // The terms may grow at first, up to where x sinh t = ν.
        if next <= sum * 1e-17 && x * libm::sinh(t) > nu {
            return sum * STEP;
        }
        t += STEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matern(nu: f64) -> GaussianProcess {
        GaussianProcess { kernel: Kernel::Matern, length_scale: 1.0, nu, num_restarts_optimizer: 0 }
    }

    #[test]
    fn bessel_functions_have_the_values_of_the_tables() {
        // Abramowitz and Stegun: K_0(1), K_1(1), K_0(0.1), K_1(5); K_½(x) = sqrt(π / 2x) e^−x.
        for (nu, x, expected) in [
            (0.0, 1.0, 0.421_024_438_240_708_3),
            (1.0, 1.0, 0.601_907_230_197_234_6),
            (0.0, 0.1, 2.427_069_024_702_017),
            (1.0, 5.0, 4.044_613_445_452_16e-3),
            (0.5, 2.0, (std::f64::consts::PI / 4.0).sqrt() * (-2.0f64).exp()),
        ] {
            let found = bessel_k(nu, x);
            assert!((found / expected - 1.0).abs() < 1e-13, "K_{nu}({x}) = {found}, not {expected}");
        }
    }

    #[test]
    fn closed_forms_and_the_general_formula_agree() {
        for (nu, distance) in [(0.5, 0.3), (1.5, 1.7), (2.5, 4.0)] {
            let closed = Matern::new(&matern(nu), 1.0).of(&[0.0], &[distance]);
            let general = Matern::new(&matern(nu + 1e-12), 1.0).of(&[0.0], &[distance]);
            assert!((closed - general).abs() < 1e-9, "{nu}: {closed} and {general}");
        }
    }

    #[test]
    fn observations_are_expected_where_they_were_made_and_nothing_far_away() {
        let points = [vec![0.0], vec![0.5], vec![1.0]];
        let process = Process::fit(&matern(1.5), 0.3, &points, &[1.0, -1.0, 0.5]).unwrap();
        let (mean, deviation) = process.expect(&[0.5]);
        assert!((mean + 1.0).abs() < 1e-6 && deviation < 1e-4, "{mean} ± {deviation}");
        let (mean, deviation) = process.expect(&[50.0]);
        assert!(mean.abs() < 1e-9 && (deviation - 1.0).abs() < 1e-9, "{mean} ± {deviation}");
    }

    #[test]
    fn the_length_scale_is_found_again() {
        // A slow wave is explained by a long scale, a fast one by a short one.
        let points: Vec<Vec<f64>> = (0..20).map(|i| vec![f64::from(i) / 20.0]).collect();
        let length = |speed: f64| {
            let values: Vec<f64> = points.iter().map(|p| (speed * p[0]).sin()).collect();
            Process::fit_best(&matern(2.5), &[1.0], &points, &values).unwrap().kernel.length
        };
        assert!(length(3.0) > 2.0 * length(25.0), "{} and {}", length(3.0), length(25.0));
    }
}
