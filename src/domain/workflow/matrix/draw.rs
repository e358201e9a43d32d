//! Values of distributions: by index for discrete ones, drawn from a stream for all.
//!
//! Streams and transforms give the same bits on every machine and in every later version: PCG64 with a seed of our
//! own, and `libm` instead of the logarithm and powers of the system, whose last digits differ.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::spec::Distribution;

/// A stream of random numbers, named by a seed, what it is for, and a number.
#[derive(Debug, Clone)]
pub(super) struct Stream(Pcg64);

impl Stream {
    /// The stream of a name: another name, an unrelated stream.
    pub fn of(seed: u64, purpose: &str, number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(number.to_le_bytes());
        hash.update(purpose);
        Self(Pcg64::from_seed(hash.finalize().into()))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly in 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly in 0..`bound`; 0 for no bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Values beyond the last whole multiple of the bound would favour the small ones.
        let excess = (u64::MAX % bound.max(1) + 1) % bound.max(1);
        loop {
            let bits = self.bits();
            if bits <= u64::MAX - excess {
                return bits % bound.max(1);
            }
        }
    }

    /// From the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        libm::sqrt(-2.0 * libm::log(1.0 - u)) * libm::cos(2.0 * std::f64::consts::PI * v)
    }

    /// A value of a distribution.
    pub fn value(&mut self, of: &Distribution) -> Value {
        match of {
            Distribution::PChoice { values } => {
                let mut left = self.unit();
                let found = values.iter().find(|(_, chance)| {
                    left -= chance;
                    left < 0.0
                });
                found.or(values.last()).map(|(value, _)| value.clone()).unwrap_or_default()
            }
            Distribution::Uniform { .. }
            | Distribution::QUniform { .. }
            | Distribution::LogUniform { .. }
            | Distribution::QLogUniform { .. } => number(from_unit(of, self.unit())),
            Distribution::Normal { .. }
            | Distribution::QNormal { .. }
            | Distribution::LogNormal { .. }
            | Distribution::QLogNormal { .. } => number(from_normal(of, self.normal())),
            discrete => value_at(discrete, self.below(discrete.size().unwrap_or_default())),
        }
    }
}

/// The value of an even distribution at a place in 0.0..1.0.
pub(super) fn from_unit(of: &Distribution, place: f64) -> f64 {
    match of {
        Distribution::Uniform { low, high } => low + (high - low) * place,
        Distribution::QUniform { low, high, q } => quantised(low + (high - low) * place, *q),
        Distribution::LogUniform { low, high } => libm::exp(low + (high - low) * place),
        Distribution::QLogUniform { low, high, q } => quantised(libm::exp(low + (high - low) * place), *q),
        _ => place,
    }
}

/// The value of a normal distribution so many standard deviations from its mean.
pub(super) fn from_normal(of: &Distribution, deviations: f64) -> f64 {
    match of {
        Distribution::Normal { loc, scale } => loc + scale * deviations,
        Distribution::QNormal { loc, scale, q } => quantised(loc + scale * deviations, *q),
        Distribution::LogNormal { loc, scale } => libm::exp(loc + scale * deviations),
        Distribution::QLogNormal { loc, scale, q } => quantised(libm::exp(loc + scale * deviations), *q),
        _ => deviations,
    }
}

/// Down to a multiple of `q`, without the dust of binary fractions (0.30000000000000004).
pub(super) fn quantised(value: f64, q: f64) -> f64 {
    let multiple = libm::floor(value / q) * q;
    let digits = (4.0 - libm::floor(libm::log10(libm::fabs(q)))).clamp(4.0, 17.0) as usize;
    let clean = format!("{multiple:.digits$}").parse().unwrap_or(multiple);
    // No minus before a zero.
    if clean == 0.0 { 0.0 } else { clean }
}

/// The value of a discrete distribution at an index below its size.
pub(super) fn value_at(of: &Distribution, index: u64) -> Value {
    let place = index as f64;
    // As numpy: even steps, and the ends exact.
    let between = |start: f64, stop: f64, num: u64| match index {
        0 => start,
        _ if index + 1 == num => stop,
        _ => place * ((stop - start) / (num - 1) as f64) + start,
    };
    match of {
        Distribution::Choice { values } => values.get(index as usize).cloned().unwrap_or_default(),
        Distribution::PChoice { values } => values.get(index as usize).map(|(v, _)| v.clone()).unwrap_or_default(),
        Distribution::Range { start, step, .. } => number(start + place * step),
        Distribution::LinSpace { start, stop, num } => number(between(*start, *stop, *num)),
        Distribution::LogSpace { start, stop, num, base } => number(libm::pow(*base, between(*start, *stop, *num))),
        Distribution::GeomSpace { start, stop, num } => number(match index {
            0 => *start,
            _ if index + 1 == *num => *stop,
            _ => {
                // Both ends have the same sign.
                let (from, to) = (libm::log10(libm::fabs(*start)), libm::log10(libm::fabs(*stop)));
                libm::copysign(libm::pow(10.0, between(from, to, *num)), *start)
            }
        }),
        Distribution::DateRange { start, step, .. } => {
            let days = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(*step);
            json!(start.saturating_add(jiff::ToSpan::days(days.min(10_000_000))).to_string())
        }
        Distribution::DateTimeRange { start, step, .. } => {
            let later = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(*step);
            let moment = jiff::Timestamp::from_millisecond(start.0.saturating_add(later)).unwrap_or_default();
            json!(jiff::tz::TimeZone::UTC.to_datetime(moment).to_string())
        }
        _ => Value::Null,
    }
}

/// The index of a value of a discrete distribution, where [`value_at`] gives it (or the same number in another form).
pub(super) fn index_of(of: &Distribution, value: &Value) -> Option<u64> {
    let same = |other: &Value| other == value || (other.is_number() && other.as_f64() == value.as_f64());
    let number = || value.as_f64();
    let between = |start: f64, stop: f64, num: u64, at: f64| {
        if num < 2 { 0.0 } else { (at - start) / (stop - start) * (num - 1) as f64 }
    };
    let near = match of {
        Distribution::Choice { values } => return values.iter().position(same).map(|index| index as u64),
        Distribution::PChoice { values } => {
            return values.iter().position(|(other, _)| same(other)).map(|index| index as u64);
        }
        Distribution::Range { start, step, .. } => (number()? - start) / step,
        Distribution::LinSpace { start, stop, num } => between(*start, *stop, *num, number()?),
        Distribution::LogSpace { start, stop, num, base } => {
            between(*start, *stop, *num, libm::log(number()?) / libm::log(*base))
        }
        Distribution::GeomSpace { start, stop, num } => {
            let log = |value: f64| libm::log(libm::fabs(value));
            between(log(*start), log(*stop), *num, log(number()?))
        }
        Distribution::DateRange { start, step, .. } => {
            let date: jiff::civil::Date = value.as_str()?.parse().ok()?;
            f64::from(date.since(*start).ok()?.get_days()) / *step as f64
        }
        Distribution::DateTimeRange { start, step, .. } => {
            let moment: jiff::civil::DateTime = value.as_str()?.parse().ok()?;
            let moment = jiff::tz::TimeZone::UTC.to_timestamp(moment).ok()?;
            (moment.as_millisecond() - start.0) as f64 / *step as f64
        }
        _ => return None,
    };
    let index = libm::round(near);
    (libm::fabs(near - index) < 1e-6 * (1.0 + index) && index >= 0.0 && index < of.size()? as f64)
        .then_some(index as u64)
}

/// A number as JSON; what is not finite is nothing.
pub(super) fn number(value: f64) -> Value {
    json!(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, value: Value) -> Distribution {
        Distribution::read(&json!({ "kind": kind, "value": value })).unwrap()
    }

    /// The worked values of Polyaxon.
    #[test]
    fn discrete_values_are_those_of_the_original() {
        for (kind, value, expected) in [
            ("range", json!([1, 10, 2]), json!([1.0, 3.0, 5.0, 7.0, 9.0])),
            ("range", json!("0:1:0.25"), json!([0.0, 0.25, 0.5, 0.75])),
            ("range", json!({"start": 1, "stop": 5, "step": 1}), json!([1.0, 2.0, 3.0, 4.0])),
            ("linspace", json!([0, 1, 5]), json!([0.0, 0.25, 0.5, 0.75, 1.0])),
            ("linspace", json!("0:10:3"), json!([0.0, 5.0, 10.0])),
            ("logspace", json!([0, 3, 4]), json!([1.0, 10.0, 100.0, 1000.0])),
            ("logspace", json!("0:3:4:2"), json!([1.0, 2.0, 4.0, 8.0])),
            ("geomspace", json!([1, 1000, 4]), json!([1.0, 10.0, 100.0, 1000.0])),
            (
                "daterange",
                json!(["2019-06-24", "2019-06-28", 1]),
                json!(["2019-06-24", "2019-06-25", "2019-06-26", "2019-06-27"]),
            ),
            ("daterange", json!(["2019-06-24", "2019-06-28", 2]), json!(["2019-06-24", "2019-06-26"])),
            (
                "datetimerange",
                json!(["2019-06-24T21:20:07+02:00", "2019-06-25T01:20:07+02:00", 3600]),
                json!(["2019-06-24T19:20:07", "2019-06-24T20:20:07", "2019-06-24T21:20:07", "2019-06-24T22:20:07"]),
            ),
        ] {
            let of = read(kind, value.clone());
            let values: Vec<Value> = (0..of.size().unwrap()).map(|index| value_at(&of, index)).collect();
            assert_eq!(json!(values), expected, "{kind} {value}");
            let back: Vec<_> = values.iter().map(|value| index_of(&of, value)).collect();
            assert_eq!(back, (0..values.len() as u64).map(Some).collect::<Vec<_>>(), "{kind} {value}");
        }
    }

    /// What the original makes of the first three draws of `numpy.random.RandomState(42)`.
    #[test]
    fn transforms_are_those_of_the_original() {
        let units = [0.3745401188473625, 0.9507143064099162, 0.7319939418114051];
        let normals = [0.4967141530112327, -0.13826430117118466, 0.6476885381006925];
        for (kind, value, expected) in [
            ("uniform", json!([0, 1]), units),
            ("quniform", json!([0, 10, 2]), [2.0, 8.0, 6.0]),
            ("loguniform", json!([-3, 0]), [0.15314353755, 0.86255438174, 0.44752710442]),
            ("qloguniform", json!([0, 5, 1]), [6.0, 115.0, 38.0]),
            ("normal", json!([0, 1]), [0.4967141530, -0.1382643012, 0.6476885381]),
            ("qnormal", json!([0, 10, 2]), [4.0, -2.0, 6.0]),
            ("lognormal", json!([0, 1]), [1.6433127156, 0.8708684898, 1.9111182427]),
            ("qlognormal", json!([0, 2, 1]), [2.0, 0.0, 3.0]),
        ] {
            let of = read(kind, value);
            let transform = |i: usize| match kind.contains("normal") {
                true => from_normal(&of, normals[i]),
                false => from_unit(&of, units[i]),
            };
            for (i, expected) in expected.into_iter().enumerate() {
                assert!((transform(i) - expected).abs() < 1e-9, "{kind}: {} is not {expected}", transform(i));
            }
        }
    }

    #[test]
    fn a_quantised_value_has_no_dust() {
        assert_eq!(quantised(0.35, 0.1), 0.3);
        assert_eq!(quantised(-0.05, 0.1), -0.1);
        assert_eq!(quantised(7.9, -2.0), 6.0 + 2.0);
        assert_eq!(quantised(1.234e-6, 1e-7), 1.2e-6);
        assert_eq!(json!(quantised(-0.0, 1.0)).to_string(), "0.0");
    }

    /// Pearson's test with a fixed seed: the counts of a fair draw are within the 99.9 % bound of their distribution.
    #[test]
    fn draws_are_distributed_as_they_should_be() {
        let chi_square = |counts: &[u64], chances: &[f64]| -> f64 {
            let all: u64 = counts.iter().sum();
            let term = |(count, chance): (&u64, &f64)| {
                let expected = chance * all as f64;
                (*count as f64 - expected).powi(2) / expected
            };
            counts.iter().zip(chances).map(term).sum()
        };
        // Ten equal bins by the distribution's own quantiles; 27.88 is the 99.9 % quantile of χ² with 9 degrees.
        let edges_normal = [-1.2816, -0.8416, -0.5244, -0.2533, 0.0, 0.2533, 0.5244, 0.8416, 1.2816];
        let deciles: Vec<f64> = (1..10).map(|i| f64::from(i) / 10.0).collect();
        let cases: [(&str, Value, Vec<f64>); 5] = [
            ("uniform", json!([-2, 6]), deciles.iter().map(|p| -2.0 + 8.0 * p).collect()),
            ("loguniform", json!([-3, 0]), deciles.iter().map(|p| (-3.0 + 3.0 * p).exp()).collect()),
            ("normal", json!([5, 2]), edges_normal.iter().map(|z| 5.0 + 2.0 * z).collect()),
            ("lognormal", json!([0, 0.5]), edges_normal.iter().map(|z| (0.5 * z).exp()).collect()),
            ("linspace", json!([0, 9, 10]), (0..9).map(|i| f64::from(i) + 0.5).collect()),
        ];
        for (kind, value, edges) in cases {
            let of = read(kind, value);
            let mut counts = [0u64; 10];
            for number in 0..20_000 {
                let drawn = Stream::of(7, "test", number).value(&of).as_f64().unwrap();
                counts[edges.iter().filter(|edge| drawn > **edge).count()] += 1;
            }
            let statistic = chi_square(&counts, &[0.1; 10]);
            assert!(statistic < 27.88, "{kind}: χ² = {statistic}, {counts:?}");
        }
        let of = read("pchoice", json!([[0, 0.2], [1, 0.3], [2, 0.5]]));
        let mut counts = [0u64; 3];
        let mut stream = Stream::of(7, "test", 0);
        (0..20_000).for_each(|_| counts[stream.value(&of).as_u64().unwrap() as usize] += 1);
        // 13.82 is the 99.9 % quantile of χ² with 2 degrees.
        assert!(chi_square(&counts, &[0.2, 0.3, 0.5]) < 13.82, "{counts:?}");
    }

    /// These numbers never change: a search that has begun goes on with the same suggestions after every upgrade.
    #[test]
    fn streams_are_the_same_for_ever() {
        let mut stream = Stream::of(42, "random", 3);
        let normal = Stream::of(42, "random", 3).normal();
        let expected = (3334740545153973879, 8595454786958737157, -0.617115308449135);
        assert_eq!((stream.bits(), stream.bits(), normal), expected);
    }
}
