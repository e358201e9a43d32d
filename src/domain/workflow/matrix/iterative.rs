//! `iterative`: a component of the user suggests, round after round; what it answers is taken in order.

use super::{Failure, Next, Outcome, Past, Suggestion};

/// Suggestions of a component of the user.
#[derive(Debug, Clone)]
pub struct Iterative {
    max_iterations: u64,
}

impl Iterative {
    /// So many rounds of questions.
    pub fn new(max_iterations: u64) -> Self {
        Self { max_iterations }
    }

    pub(super) fn next(&self, past: &Past<'_>, free: u64) -> Next {
        let mut made = Vec::new();
        let mut index = 0u64;
        for (round, answer) in past.answers.iter().enumerate() {
            for params in answer {
                if index >= past.taken && (made.len() as u64) < free {
                    made.push(Suggestion {
                        index,
                        iteration: round as u64,
                        bracket_iteration: None,
                        params: params.clone(),
                        resumes: None,
                    });
                }
                index += 1;
            }
        }
        let rounds = past.answers.len() as u64;
        if !made.is_empty() {
            Next::Suggest(made)
        } else if past.taken < index || past.trials.iter().any(|trial| trial.outcome == Outcome::Pending) {
            Next::Wait
        } else if past.answers.last().is_some_and(Vec::is_empty) {
            Next::Fail(Failure::EmptyIteration)
        } else if rounds < self.max_iterations {
            Next::Ask(rounds)
        } else {
            Next::Done
        }
    }
}
