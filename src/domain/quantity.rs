//! Amounts of a resource, as Kubernetes writes them, and vectors of them.
//!
//! An amount is a whole number of thousandths, so that adding and comparing is exact. What cannot be held exactly is
//! rounded up: a request is never counted smaller than it is.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest amount, in units: 2^53, the last whole number that JSON readers agree on.
pub const MAX_UNITS: u64 = 1 << 53;

/// The resource that means money; its amount is whatever unit the organization counts in.
pub const COST: &str = "cost";

/// An amount of one resource, in thousandths of its unit (`500m` of cpu is 500).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(u64);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount in thousandths.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The amount in thousandths.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Reads a Kubernetes quantity: a decimal number with an optional suffix
    /// (`n u m k M G T P E`, `Ki Mi Gi Ti Pi Ei`) or exponent (`1e3`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a quantity: write for example `2`, `500m` or `16Gi`");
        let text_trimmed = text.trim();
        let split = text_trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text_trimmed.len());
        let (number, suffix) = text_trimmed.split_at(split);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
            return Err(bad());
        }
        // Digits beyond the twelfth after the point only matter for rounding up.
        let kept: String = fraction.chars().take(12).collect();
        let scale = 10u128.pow(kept.len() as u32);
        let digits = if kept.is_empty() { whole.parse() } else { format!("{whole}{kept}").parse() };
        let digits: u128 = digits.map_err(|_| bad())?;
        let spilled = fraction.chars().skip(12).any(|c| c != '0');
        let (times, over): (u128, u128) = match suffix {
            "" => (1000, 1),
            "n" => (1, 1_000_000),
            "u" => (1, 1000),
            "m" => (1, 1),
            "k" => (1000 * 1000, 1),
            "M" => (1000 * 1000_u128.pow(2), 1),
            "G" => (1000 * 1000_u128.pow(3), 1),
            "T" => (1000 * 1000_u128.pow(4), 1),
            "P" => (1000 * 1000_u128.pow(5), 1),
            "E" => (1000 * 1000_u128.pow(6), 1),
            "Ki" => (1000 << 10, 1),
            "Mi" => (1000 << 20, 1),
            "Gi" => (1000 << 30, 1),
            "Ti" => (1000 << 40, 1),
            "Pi" => (1000 << 50, 1),
            "Ei" => (1000 << 60, 1),
            exponent => {
                let power: i32 = exponent.strip_prefix(['e', 'E']).and_then(|e| e.parse().ok()).ok_or_else(bad)?;
                match power {
                    0..=18 => (1000 * 10u128.pow(power.unsigned_abs()), 1),
                    -18..0 => (1000, 10u128.pow(power.unsigned_abs())),
                    _ => return Err(bad()),
                }
            }
        };
        let too_big = || format!("`{text}` is too large: at most {MAX_UNITS}");
        let numerator = digits.checked_mul(times).ok_or_else(too_big)?;
        let millis = numerator.div_ceil(scale * over) + u128::from(spilled && numerator % (scale * over) == 0);
        if millis > u128::from(MAX_UNITS) * 1000 {
            return Err(too_big());
        }
        u64::try_from(millis).map(Self).map_err(|_| too_big())
    }

    /// The sum; saturates far above every legal amount.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This many times the amount; saturates.
    pub fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl fmt::Display for Quantity {
    /// The shortest exact form: `500m`, `4`, `16Gi`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_multiple_of(1000) {
            return f.pad(&format!("{}m", self.0));
        }
        let units = self.0 / 1000;
        for (suffix, shift) in [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
            if units >= 1 << shift && units.is_multiple_of(1 << shift) {
                return f.pad(&format!("{}{suffix}", units >> shift));
            }
        }
        f.pad(&units.to_string())
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Whole(u64),
            Number(f64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Whole(number) => number.to_string(),
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "pattern": "^[0-9]*(\\.[0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$",
            "minimum": 0,
            "description": "An amount as Kubernetes writes it: `2`, `500m`, `16Gi`.",
            "examples": ["2", "500m", "16Gi"],
        })
    }
}

/// An amount for each of some resources, by name; what is absent is zero in a request and unlimited in a quota.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Resources(pub BTreeMap<String, Quantity>);

impl Resources {
    /// Whether no resource is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds to one resource.
    pub fn add(&mut self, name: &str, amount: Quantity) {
        let entry = self.0.entry(canonical_resource(name).to_owned()).or_default();
        *entry = entry.plus(amount);
    }

    /// The amounts by canonical name, without zeros.
    pub fn canonical(&self) -> Self {
        let mut all = Self::default();
        for (name, amount) in self.0.iter().filter(|(_, amount)| **amount != Quantity::ZERO) {
            all.add(name, *amount);
        }
        all
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, amount)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={amount}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The one name of a resource: `gpu` is short for `nvidia.com/gpu`.
pub fn canonical_resource(name: &str) -> &str {
    if name == "gpu" { "nvidia.com/gpu" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_exactly_and_round_up() {
        for (text, millis) in [
            ("0", 0),
            ("2", 2000),
            ("500m", 500),
            ("0.5", 500),
            ("1.0001", 1001),
            ("1n", 1),
            ("1e3", 1_000_000),
            ("16Gi", 16 * (1 << 30) * 1000),
            ("1k", 1_000_000),
            ("0.0000000000000001", 1),
        ] {
            assert_eq!(Quantity::parse(text).map(Quantity::millis), Ok(millis), "{text}");
        }
        for bad in ["", "-1", "1.2.3", "Gi", "1Gb", "0x10", "1e99", "99999999999999999999", "1 2", "."] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_quantity_reads_what_it_writes() {
        for millis in [0, 1, 500, 1000, 1001, 64_000, (1 << 30) * 1000, (3 << 20) * 1000] {
            let amount = Quantity(millis);
            assert_eq!(Quantity::parse(&amount.to_string()), Ok(amount));
        }
    }
}
