//! One param of a search as a line or a list, and what good and bad values of it look like: Parzen windows (Bergstra
//! et al. 2011), with the widths of the original.

use serde_json::Value;

use super::bayes::below;
use super::draw::{Stream, index_of, number, quantised, value_at};
use crate::domain::spec::Distribution;

/// A param as a line from `low` to `high`, or as a list.
#[derive(Debug, Clone)]
pub(super) enum Axis {
    /// The values, with the probability of each.
    List(Distribution, Vec<f64>),
    /// A line on which the value is a number, a logarithm or an index.
    Line(Line),
}

/// A line on which a param moves.
#[derive(Debug, Clone)]
pub(super) struct Line {
    of: Distribution,
    /// One end.
    pub low: f64,
    /// The other end.
    pub high: f64,
    /// The middle of what is drawn before anything is known.
    pub middle: f64,
    /// Its width: the whole line, or a standard deviation.
    pub width: f64,
    /// Whether it is a normal distribution, and not an even one.
    pub normal: bool,
}

impl Axis {
    /// The axis of a param.
    pub fn of(of: &Distribution) -> Self {
        let line = |low: f64, high: f64| {
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            let width = (high - low).max(f64::MIN_POSITIVE);
            Self::Line(Line { of: of.clone(), low, high, middle: (low + high) / 2.0, width, normal: false })
        };
        match of {
            Distribution::Choice { values } => Self::List(of.clone(), vec![1.0 / values.len() as f64; values.len()]),
            Distribution::PChoice { values } => Self::List(of.clone(), values.iter().map(|(_, p)| *p).collect()),
            Distribution::Uniform { low, high }
            | Distribution::QUniform { low, high, .. }
            | Distribution::LogUniform { low, high }
            | Distribution::QLogUniform { low, high, .. } => line(*low, *high),
            Distribution::Normal { loc, scale }
            | Distribution::QNormal { loc, scale, .. }
            | Distribution::LogNormal { loc, scale }
            | Distribution::QLogNormal { loc, scale, .. } => {
                let scale = scale.max(f64::MIN_POSITIVE);
                // Beyond four deviations lies one draw of 16,000.
                let (low, high) = (loc - 4.0 * scale, loc + 4.0 * scale);
                Self::Line(Line { of: of.clone(), low, high, middle: *loc, width: scale, normal: true })
            }
            discrete => line(-0.5, discrete.size().unwrap_or(1) as f64 - 0.5),
        }
    }

    /// Where a value lies; `None` when it is no value of the param.
    pub fn place(&self, value: &Value) -> Option<f64> {
        let line = match self {
            Self::List(of, _) => return index_of(of, value).map(|index| index as f64),
            Self::Line(line) => line,
        };
        let place = match &line.of {
            Distribution::LogUniform { .. }
            | Distribution::QLogUniform { .. }
            | Distribution::LogNormal { .. }
            | Distribution::QLogNormal { .. } => match value.as_f64()? {
                at if at > 0.0 => libm::log(at),
                _ => line.low,
            },
            of if of.is_discrete() => index_of(of, value)? as f64,
            _ => value.as_f64()?,
        };
        Some(place.clamp(line.low, line.high))
    }

    /// The value at a place.
    pub fn value(&self, place: f64) -> Value {
        let line = match self {
            Self::List(of, _) => return value_at(of, place as u64),
            Self::Line(line) => line,
        };
        match &line.of {
            Distribution::LogUniform { .. } | Distribution::LogNormal { .. } => number(libm::exp(place)),
            Distribution::QLogUniform { q, .. } | Distribution::QLogNormal { q, .. } => {
                number(quantised(libm::exp(place), *q))
            }
            Distribution::QUniform { q, .. } | Distribution::QNormal { q, .. } => number(quantised(place, *q)),
            of if of.is_discrete() => {
                let last = of.size().unwrap_or(1).saturating_sub(1);
                value_at(of, (libm::round(place).max(0.0) as u64).min(last))
            }
            _ => number(place),
        }
    }
}

/// Where the values of some runs lie on an axis.
#[derive(Debug, Clone)]
pub(super) enum Density {
    /// How likely each value of a list is.
    List(Vec<f64>),
    /// Normal distributions around values, cut at the ends.
    Line {
        /// Their means.
        means: Vec<f64>,
        /// Their standard deviations.
        sigmas: Vec<f64>,
        /// The ends.
        ends: (f64, f64),
    },
}

impl Density {
    /// The density of some places on an axis; of none, what is drawn before anything is known.
    pub fn of(axis: &Axis, places: &[f64]) -> Self {
        match axis {
            Axis::List(_, chances) => {
                let size = chances.len() as f64;
                let weight = |(i, chance): (usize, &f64)| {
                    let count = places.iter().filter(|place| **place == i as f64).count() as f64;
                    // The prior counts as one run for each value.
                    (count + chance * size) / (places.len() as f64 + size)
                };
                Self::List(chances.iter().enumerate().map(weight).collect())
            }
            Axis::Line(line) => {
                let mut means: Vec<f64> = places.iter().copied().chain([line.middle]).collect();
                means.sort_by(f64::total_cmp);
                let prior = means.iter().position(|mean| *mean == line.middle).unwrap_or_default();
                let span = line.high - line.low;
                let least = span / (1.0 + means.len() as f64).min(100.0);
                let sigma = |i: usize| {
                    if i == prior {
                        return line.width.max(f64::MIN_POSITIVE);
                    }
                    // As wide as the larger gap beside it.
                    let left = if i == 0 { line.low } else { means[i - 1] };
                    let right = means.get(i + 1).copied().unwrap_or(line.high);
                    (means[i] - left).max(right - means[i]).clamp(least, span.max(least)).max(f64::MIN_POSITIVE)
                };
                let sigmas = (0..means.len()).map(sigma).collect();
                Self::Line { means, sigmas, ends: (line.low, line.high) }
            }
        }
    }

    /// Draws a place.
    pub fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::List(chances) => {
                let mut left = stream.unit() * chances.iter().sum::<f64>();
                let found = chances.iter().position(|chance| {
                    left -= chance;
                    left < 0.0
                });
                found.unwrap_or(chances.len().saturating_sub(1)) as f64
            }
            Self::Line { means, sigmas, ends } => {
                let i = stream.below(means.len() as u64) as usize;
                let tries = (0..64).map(|_| means[i] + sigmas[i] * stream.normal());
                let inside = tries.into_iter().find(|place| (ends.0..=ends.1).contains(place));
                inside.unwrap_or_else(|| means[i].clamp(ends.0, ends.1))
            }
        }
    }

    /// The logarithm of how likely a place is.
    pub fn log(&self, place: f64) -> f64 {
        match self {
            Self::List(chances) => libm::log(chances.get(place as usize).copied().unwrap_or_default()),
            Self::Line { means, sigmas, ends } => {
                let terms: Vec<f64> = means
                    .iter()
                    .zip(sigmas)
                    .map(|(mean, sigma)| {
                        let z = (place - mean) / sigma;
                        let inside = below((ends.1 - mean) / sigma) - below((ends.0 - mean) / sigma);
                        -0.5 * z * z - libm::log(sigma * libm::sqrt(2.0 * std::f64::consts::PI)) - libm::log(inside)
                    })
                    .collect();
                let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                most + libm::log(terms.iter().map(|term| libm::exp(term - most)).sum::<f64>() / terms.len() as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn axis(kind: &str, value: Value) -> Axis {
        Axis::of(&Distribution::read(&json!({ "kind": kind, "value": value })).unwrap())
    }

    /// The worked values of the original.
    #[test]
    fn windows_are_those_of_the_original() {
        let density = Density::of(&axis("uniform", json!([0, 1])), &[0.25, 0.33]);
        let Density::Line { means, sigmas, .. } = &density else { panic!("a line") };
        assert_eq!((means.as_slice(), sigmas.as_slice()), (&[0.25, 0.33, 0.5][..], &[0.25, 0.25, 1.0][..]));
        assert!((density.log(0.3) - 0.43567).abs() < 5e-6, "{}", density.log(0.3));
        assert!((density.log(0.9) + 0.95210).abs() < 5e-6, "{}", density.log(0.9));
        let density = Density::of(&axis("choice", json!(["relu", "tanh"])), &[0.0, 0.0, 1.0]);
        let Density::List(chances) = density else { panic!("a list") };
        assert!((chances[0] - 0.6).abs() < 1e-12 && (chances[1] - 0.4).abs() < 1e-12, "{chances:?}");
    }

    #[test]
    fn a_place_leads_back_to_its_value() {
        for (kind, value, at) in [
            ("uniform", json!([0, 1]), json!(0.25)),
            ("loguniform", json!([-3, 0]), json!(0.5)),
            ("quniform", json!([0, 10, 2]), json!(6.0)),
            ("normal", json!([5, 2]), json!(7.5)),
            ("geomspace", json!([1, 1000, 4]), json!(100.0)),
            ("choice", json!(["a", 2]), json!(2)),
        ] {
            let axis = axis(kind, value);
            let back = axis.value(axis.place(&at).unwrap());
            let near = back == at || (back.as_f64().unwrap() - at.as_f64().unwrap()).abs() < 1e-12;
            assert!(near, "{kind}: {back} is not {at}");
        }
    }
}
