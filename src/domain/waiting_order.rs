//! An order of things that wait for one another: each comes after all that it waits for.

/// Who comes when.
#[derive(Debug, PartialEq, Eq)]
pub struct WaitingOrder {
    /// The places of those that come at all, in order.
    pub comes: Vec<usize>,
    /// For each whether it never comes, because it waits for itself or for somebody who does.
    pub waits_forever: Vec<bool>,
}

/// Puts things in order; `after` has for each the places of those that it waits for. Takes time in proportion to the waits.
pub fn waiting_order<W: AsRef<[u32]>>(after: &[W]) -> WaitingOrder {
    let mut left: Vec<usize> = after.iter().map(|of| of.as_ref().len()).collect();
    let mut behind = vec![Vec::new(); after.len()];
    for (place, of) in after.iter().enumerate() {
        of.as_ref().iter().for_each(|of| behind[*of as usize].push(place));
    }
    let mut comes: Vec<usize> = (0..after.len()).filter(|place| left[*place] == 0).collect();
    let mut next = 0;
    while let Some(place) = comes.get(next).copied() {
        next += 1;
        for waits in &behind[place] {
            left[*waits] -= 1;
            if left[*waits] == 0 {
                comes.push(*waits);
            }
        }
    }
    WaitingOrder { comes, waits_forever: left.iter().map(|left| *left > 0).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_after_what_it_waits_for_unless_it_waits_in_a_circle() {
        let order = waiting_order(&[vec![1, 2], vec![2], vec![], vec![4], vec![3], vec![2, 4, 4]]);
        assert_eq!(order.comes, [2, 1, 0]);
        assert_eq!(order.waits_forever, [false, false, false, true, true, true]);
    }
}
