//! Whether a text is a crontab line: five fields, or one of the short words.

/// The short words for common lines.
const WORDS: [&str; 8] =
    ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Checks a crontab line; the error says which field is wrong and why.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.starts_with('@') {
        return if WORDS.contains(&text) { Ok(()) } else { Err(format!("the short words are {}", WORDS.join(", "))) };
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("it has {} fields instead of 5", fields.len()));
    }
    let rooms: [(&str, u32, u32, &[&str]); 5] = [
        ("minute", 0, 59, &[]),
        ("hour", 0, 23, &[]),
        ("day of month", 1, 31, &[]),
        ("month", 1, 12, &MONTHS),
        ("day of week", 0, 7, &DAYS),
    ];
    for (field, (name, low, high, words)) in fields.iter().zip(rooms) {
        for part in field.split(',') {
            part_of(part, low, high, words).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(())
}

/// `*`, `5`, `1-5`, each with `/step`.
fn part_of(part: &str, low: u32, high: u32, words: &[&str]) -> Result<(), String> {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    if step.is_some_and(|step| step.parse::<u32>().map_or(true, |step| step == 0 || step > high)) {
        return Err(format!("`{}` is not a step", part.escape_debug()));
    }
    if range == "*" || range == "?" {
        return Ok(());
    }
    let value = |text: &str| {
        let word = words.iter().position(|word| text.eq_ignore_ascii_case(word)).map(|i| i as u32 + low);
        let number = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        word.or(number)
            .filter(|n| (low..=high).contains(n))
            .ok_or(format!("`{}` is not in {low}–{high}", text.escape_debug()))
    };
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let (from, to) = (value(from)?, value(to)?);
    if from <= to { Ok(()) } else { Err(format!("`{}` runs backwards", range.escape_debug())) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn crontab_lines() {
        for good in ["* * * * *", "*/15 2 * * 1-5", "0 0 1 jan,JUL sun", "5,10-20/5 0-23/2 ? * 7", "@daily"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "+1 * * * *",
            "@never",
            "1, * * * *",
            "* * * * * *",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
