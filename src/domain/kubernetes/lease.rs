//! Who may change the objects of an installation in a namespace: the server with the newest term, and it alone.
//!
//! The word is a `Lease` that bears the term. A server with a newer term takes it, and the one before is out: it sends
//! nothing any more once it has seen that, or once it could not renew for [`LEASE`] — also when it was paused or cut
//! off. What an old server may still send is the request to make an attempt that is over by now, and that is harmless
//! as long as the object stands there: an attempt has one name. So a new server makes objects at once, and removes
//! none before the word of the old one has run out.

use crate::domain::ids::Epoch;
use crate::domain::time::Span;

/// How long a server may act on a renewal, counted from before it was asked for (Kubernetes' own electors: 15 s).
pub const LEASE: Span = Span::seconds(15);
/// How often it is renewed: two may fail.
pub const RENEWAL: Span = Span::seconds(5);
/// What a server sent at its last moment has arrived after this, or never will.
const ON_ITS_WAY: Span = Span::seconds(2);

/// A server, as the lease names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Where its data directory is. Two servers of one place never live at the same time: its store is locked.
    pub place: String,
    /// Which process.
    pub process: String,
}

impl Holder {
    /// It, as `holderIdentity`.
    pub fn identity(&self) -> String {
        format!("{}_{}", self.place, self.process)
    }
}

/// What a server may do with the lease that it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is its own.
    Own,
    /// It takes it, and removes nothing for so long.
    Take(Span),
    /// It stays out, for this reason.
    Refused(String),
}

/// The name of the lease of an installation.
pub fn lease_name(instance: &str) -> String {
    format!("tidegate-{instance}")
}

/// What a server of a term may do, when the lease names a holder and a term; `None` when there is none.
pub fn claim(found: Option<(&str, Epoch)>, own: &Holder, term: Epoch) -> Claim {
    let Some((identity, held)) = found.filter(|(identity, _)| !identity.is_empty()) else {
        return Claim::Take(Span(0));
    };
    if identity == own.identity() {
        return Claim::Own;
    }
    if held >= term {
        return Claim::Refused(format!(
            "another server holds it with term {}, this one has {}: they run on copies of one data directory. End one of \
             them; if it is the other, delete its Lease there",
            held.0, term.0
        ));
    }
    let same_place = identity.rsplit_once('_').is_some_and(|(place, _)| place == own.place);
    Claim::Take(if same_place { ON_ITS_WAY } else { Span(LEASE.0 + ON_ITS_WAY.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(place: &str, process: &str) -> Holder {
        Holder { place: place.to_owned(), process: process.to_owned() }
    }

    #[test]
    fn the_newest_term_holds_the_lease_and_waits_for_the_word_of_the_one_before() {
        let own = holder("here", "2");
        let found = |place: &str, process: &str, term| {
            let identity = holder(place, process).identity();
            claim(Some((&identity, Epoch(term))), &own, Epoch(7))
        };
        assert_eq!(claim(None, &own, Epoch(7)), Claim::Take(Span(0)));
        assert_eq!(claim(Some(("", Epoch(9))), &own, Epoch(7)), Claim::Take(Span(0)), "given up");
        assert_eq!(found("here", "2", 7), Claim::Own);
        assert_eq!(found("here", "1", 6), Claim::Take(ON_ITS_WAY), "it is dead: the data directory was locked");
        let Claim::Take(wait) = found("there", "1", 6) else { panic!("a newer term takes it") };
        assert!(wait > LEASE, "it may live, and its word with it");
        for (place, term) in [("here", 7), ("there", 7), ("there", 8)] {
            assert!(matches!(found(place, "1", term), Claim::Refused(_)), "{place} {term}");
        }
    }

    #[test]
    fn two_renewals_may_fail() {
        const { assert!(RENEWAL.0 * 2 < LEASE.0) };
    }
}
