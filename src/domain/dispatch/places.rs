//! How many stand before somebody in a line, without walking along it.
//!
//! Every place ever given in a line is a bit, set while somebody stands there: 256 to a block, 256 blocks to a page.
//! Empty blocks and pages are gone, so that the cost follows those who stand and not those who have passed.

use std::collections::BTreeMap;

/// Places of a block, and blocks of a page.
const WIDTH: u64 = 256;

/// Who stands where in one line.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// The next place at the end.
    next: u64,
    blocks: BTreeMap<u64, Block>,
    /// How many stand in each page; kept only while there is more than one.
    pages: BTreeMap<u64, u32>,
}

#[derive(Debug, Clone, Default)]
struct Block {
    bits: [u64; 4],
    standing: u16,
}

impl Places {
    /// Somebody stands at the end; answers the place.
    pub fn stand(&mut self) -> u64 {
        let place = self.next;
        self.next += 1;
        let block = self.blocks.entry(place / WIDTH).or_default();
        block.bits[(place % WIDTH / 64) as usize] |= 1 << (place % 64);
        block.standing += 1;
        *self.pages.entry(place / WIDTH / WIDTH).or_insert(0) += 1;
        place
    }

    /// Somebody leaves.
    pub fn leave(&mut self, place: u64) {
        let Some(block) = self.blocks.get_mut(&(place / WIDTH)) else { return };
        block.bits[(place % WIDTH / 64) as usize] &= !(1 << (place % 64));
        block.standing -= 1;
        if block.standing == 0 {
            self.blocks.remove(&(place / WIDTH));
        }
        let page = place / WIDTH / WIDTH;
        if let Some(standing) = self.pages.get_mut(&page) {
            *standing -= 1;
            if *standing == 0 {
                self.pages.remove(&page);
            }
        }
    }

    /// How many stand before a place: at most 256 blocks and one number for each 65,536 places are looked at.
    pub fn before(&self, place: u64) -> u64 {
        let (block, page) = (place / WIDTH, place / WIDTH / WIDTH);
        let pages: u64 = self.pages.range(..page).map(|(_, standing)| u64::from(*standing)).sum();
        let blocks: u64 = self.blocks.range(page * WIDTH..block).map(|(_, block)| u64::from(block.standing)).sum();
        let within = self.blocks.get(&block).map_or(0, |block| {
            let word = (place % WIDTH / 64) as usize;
            let whole: u32 = block.bits[..word].iter().map(|bits| bits.count_ones()).sum();
            whole + (block.bits[word] & ((1 << (place % 64)) - 1)).count_ones()
        });
        pages + blocks + u64::from(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_count_is_a_count(leaves in prop::collection::vec(any::<prop::sample::Index>(), 0..400)) {
            let mut places = Places::default();
            // Over several pages, with gaps.
            let mut standing: Vec<u64> = (0..150_000).map(|_| places.stand()).collect();
            let (kept, gone): (Vec<u64>, Vec<u64>) = standing.iter().partition(|place| *place % 701 == 3);
            gone.into_iter().for_each(|place| places.leave(place));
            standing = kept;
            for leave in leaves {
                if standing.is_empty() { break; }
                places.leave(standing.remove(leave.index(standing.len())));
            }
            standing.push(places.stand());
            for (n, place) in standing.iter().enumerate() {
                prop_assert_eq!(places.before(*place), n as u64);
            }
            prop_assert!(places.blocks.len() <= standing.len());
        }
    }
}
