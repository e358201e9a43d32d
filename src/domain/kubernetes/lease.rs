//! Who may change the objects of an installation in a namespace: the server with the newest term, and it alone.
//!
//! The word is a `Lease` that bears the term. A server with a newer term takes it, and the one before is out: it sends
//! nothing any more once it has seen that, or once it could not renew for [`LEASE`] — also when it was paused or cut
//! off. What an old server may still send is the request to make an attempt that is over by now, and that is harmless
//! as long as the object stands there: an attempt has one name. So a new server makes objects at once, and removes
//! none before the word of the old one has run out.
//!
//! It also bears the agent that works there. Two agents of one server that lead to the same namespace in different words
//! are found out so: the first one works, the other stays out until the first has been silent for [`LEASE`].

use crate::domain::ids::{AgentName, Epoch};
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

/// What a lease says.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// Which server; nobody when it is empty.
    pub identity: &'a str,
    /// Its term.
    pub term: Epoch,
    /// For which of its agents; earlier versions did not say.
    pub agent: Option<&'a str>,
    /// How long it was seen to stay as it is.
    pub silent: Span,
}

/// What an agent of a server of a term may do with the lease that it found.
pub fn claim(found: Option<Held<'_>>, own: &Holder, agent: &AgentName, term: Epoch) -> Claim {
    let Some(held) = found.filter(|held| !held.identity.is_empty()) else {
        return Claim::Take(Span(0));
    };
    let ours = held.identity == own.identity();
    if !ours && held.term >= term {
        return Claim::Refused(format!(
            "another server holds it with term {}, this one has {}: they run on copies of one data directory. End one of \
             them; if it is the other, delete its Lease there",
            held.term.0, term.0
        ));
    }
    match held.agent.filter(|other| *other != agent.as_str()) {
        Some(other) if held.silent < LEASE => Claim::Refused(format!(
            "agent {other} works in this namespace already, and two agents must not share one: give one of them another \
             `namespace`, or keep one agent with several queues; should {other} be gone, this one takes over by itself \
             within half a minute"
        )),
        Some(_) => Claim::Take(ON_ITS_WAY),
        None if ours => Claim::Own,
        None => {
            let same_place = held.identity.rsplit_once('_').is_some_and(|(place, _)| place == own.place);
            Claim::Take(if same_place { ON_ITS_WAY } else { Span(LEASE.0 + ON_ITS_WAY.0) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentName {
        AgentName::parse(name).unwrap()
    }

    fn holder(place: &str, process: &str) -> Holder {
        Holder { place: place.to_owned(), process: process.to_owned() }
    }

    #[test]
    fn the_newest_term_holds_the_lease_and_waits_for_the_word_of_the_one_before() {
        let found = |place: &str, process: &str, term| {
            let identity = holder(place, process).identity();
            let held = Held { identity: &identity, term: Epoch(term), agent: Some("a"), silent: Span(0) };
            claim(Some(held), &holder("here", "2"), &agent("a"), Epoch(7))
        };
        let nobody = Held { identity: "", term: Epoch(9), agent: Some("b"), silent: Span(0) };
        assert_eq!(claim(None, &holder("here", "2"), &agent("a"), Epoch(7)), Claim::Take(Span(0)));
        assert_eq!(claim(Some(nobody), &holder("here", "2"), &agent("a"), Epoch(7)), Claim::Take(Span(0)), "given up");
        assert_eq!(found("here", "2", 7), Claim::Own);
        assert_eq!(found("here", "1", 6), Claim::Take(ON_ITS_WAY), "it is dead: the data directory was locked");
        let Claim::Take(wait) = found("there", "1", 6) else { panic!("a newer term takes it") };
        assert!(wait > LEASE, "it may live, and its word with it");
        for (place, term) in [("here", 7), ("there", 7), ("there", 8)] {
            assert!(matches!(found(place, "1", term), Claim::Refused(_)), "{place} {term}");
        }
    }

    #[test]
    fn an_agent_stays_out_while_another_one_is_heard_of() {
        let found = |process: &str, term, by: Option<&str>, silent| {
            let identity = holder("here", process).identity();
            let held = Held { identity: &identity, term: Epoch(term), agent: by, silent };
            claim(Some(held), &holder("here", "2"), &agent("a"), Epoch(7))
        };
        for (process, term) in [("2", 7), ("1", 6)] {
            let Claim::Refused(why) = found(process, term, Some("b"), Span(LEASE.0 - 1)) else { panic!("{process}") };
            assert!(why.contains("agent b works in this namespace"), "{why}");
            assert_eq!(found(process, term, Some("b"), LEASE), Claim::Take(ON_ITS_WAY), "it was renamed, or removed");
        }
        assert_eq!(found("2", 7, None, Span(0)), Claim::Own, "written by an earlier version");
        let Claim::Refused(why) = found("1", 8, Some("b"), LEASE) else { panic!("a newer term") };
        assert!(why.contains("copies of one data directory"), "{why}");
    }

    #[test]
    fn two_renewals_may_fail() {
        const { assert!(RENEWAL.0 * 2 < LEASE.0) };
    }
}
