//! Searches from the first point to the last, against functions whose best point is known; interrupted at every step.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::domain::spec::{Matrix, Search};
use tidegate::domain::workflow::matrix::{Failure, Next, Outcome, Params, Past, Suggestion, Trial, Tuner};

fn search(written: Value) -> Search {
    Matrix::read(&written).unwrap_or_else(|faults| panic!("{written}: {faults:?}")).search
}

/// Runs a search with so many slots; with `amnesia`, the tuner is made anew for each question, as after a crash.
fn run(
    search: &Search,
    seed: u64,
    slots: usize,
    amnesia: bool,
    metric: impl Fn(&Params) -> Outcome,
) -> (Vec<Suggestion>, Vec<Trial>, Next) {
    let make = || Tuner::new(search, seed, Some(slots as u64));
    let mut tuner = make();
    let (mut asked, mut trials) = (Vec::<Suggestion>::new(), Vec::<Trial>::new());
    for step in 0.. {
        assert!(step < 10_000, "the search does not end");
        if amnesia {
            tuner = make();
        }
        let running: Vec<usize> = (0..trials.len()).filter(|i| trials[*i].outcome == Outcome::Pending).collect();
        match tuner.next(&Past::of(&trials), (slots - running.len()) as u64) {
            Next::Suggest(made) => {
                assert!(!made.is_empty() && made.len() <= slots - running.len(), "{} suggestions", made.len());
                for one in made {
                    assert_eq!(one.index as usize, trials.len(), "numbers without gaps");
                    trials.push(Trial { params: one.params.clone(), outcome: Outcome::Pending });
                    asked.push(one);
                }
            }
            Next::Wait => {
                // Not in the order in which they began.
                let i = running[step % running.len()];
                trials[i].outcome = metric(&trials[i].params);
            }
            end if running.is_empty() => return (asked, trials, end),
            _ => trials[running[0]].outcome = metric(&trials[running[0]].params),
        }
    }
    unreachable!("the loop returns")
}

fn number(params: &Params, name: &str) -> f64 {
    params[name].as_f64().unwrap()
}

fn best(trials: &[Trial]) -> (f64, &Params) {
    let value = |trial: &Trial| if let Outcome::Observed(value) = trial.outcome { value } else { f64::INFINITY };
    let best = trials.iter().min_by(|a, b| value(a).total_cmp(&value(b))).unwrap();
    (value(best), &best.params)
}

fn hyperband(resume: bool) -> Search {
    search(json!({
        "kind": "hyperband", "maxIterations": 9, "eta": 3, "seed": 3, "resume": resume,
        "resource": {"name": "epochs", "type": "int"}, "metric": {"name": "loss", "optimization": "minimize"},
        "params": {"lr": {"kind": "uniform", "value": [0, 1]}},
    }))
}

#[test]
fn hyperband_walks_its_brackets_and_promotes_the_best() {
    // The tables of Polyaxon: (bracket, rung), how many, with how much.
    let expected = [(0, 0, 9, 1), (0, 1, 3, 3), (0, 2, 1, 9), (1, 0, 5, 3), (1, 1, 1, 9), (2, 0, 3, 9)];
    let (asked, trials, end) = run(&hyperband(true), 0, 4, true, |params| Outcome::Observed(number(params, "lr")));
    assert_eq!(end, Next::Done);
    let mut at = 0;
    for (bracket, rung, runs, epochs) in expected {
        let part = &asked[at..at + runs];
        for one in part {
            assert_eq!((one.iteration, one.bracket_iteration), (bracket, Some(rung)));
            assert_eq!(one.params["epochs"], json!(epochs));
        }
        if rung > 0 {
            // Those of the rung before with the smallest metric, each once, the best first.
            let before = &asked[at - expected.iter().find(|e| (e.0, e.1) == (bracket, rung - 1)).unwrap().2..at];
            let mut values: Vec<f64> = before.iter().map(|one| number(&one.params, "lr")).collect();
            values.sort_by(f64::total_cmp);
            let promoted: Vec<f64> = part.iter().map(|one| number(&one.params, "lr")).collect();
            assert_eq!(promoted, values[..runs]);
            for one in part {
                let from = &asked[one.resumes.unwrap() as usize];
                assert_eq!(from.params["lr"], one.params["lr"], "it goes on from itself");
            }
        } else {
            assert!(part.iter().all(|one| one.resumes.is_none()));
        }
        at += runs;
    }
    assert_eq!((at, trials.len()), (22, 22));
    assert!(run(&hyperband(false), 0, 4, false, |_| Outcome::Observed(1.0)).0.iter().all(|one| one.resumes.is_none()));
}

#[test]
fn hyperband_goes_on_without_those_that_failed() {
    // The better half fails: the best of the rest are kept, and a rung of failures only ends its bracket.
    let metric = |params: &Params| match number(params, "lr") {
        lr if lr < 0.5 => Outcome::Lost,
        lr => Outcome::Observed(lr),
    };
    let (asked, _, end) = run(&hyperband(false), 1, 3, true, metric);
    assert_eq!(end, Next::Done);
    assert!(asked.iter().filter(|one| one.bracket_iteration > Some(0)).all(|one| number(&one.params, "lr") >= 0.5));
    let (asked, _, end) = run(&hyperband(false), 1, 3, true, |_| Outcome::Lost);
    assert_eq!((asked.len(), end), (17, Next::Fail(Failure::NothingObserved)), "only the first rungs");
}

#[test]
fn hyperband_of_a_small_space_asks_for_no_more_than_there_is() {
    let written = json!({
        "kind": "hyperband", "maxIterations": 81, "eta": 3, "resource": {"name": "n", "type": "float"},
        "metric": {"name": "loss", "optimization": "maximize"}, "params": {"a": {"kind": "range", "value": [0, 6, 1]}},
    });
    let (asked, ..) = run(&search(written), 5, 10, true, |params| Outcome::Observed(number(params, "a")));
    for bracket in 0..5 {
        let first: Vec<String> = asked
            .iter()
            .filter(|one| one.iteration == bracket && one.bracket_iteration == Some(0))
            .map(|one| json!(one.params).to_string())
            .collect();
        assert_eq!(first.len(), first.iter().collect::<BTreeSet<_>>().len(), "{first:?}");
        assert!(first.len() <= 6);
    }
}

/// The bowl of the tests: its bottom is at lr 0.3, units 32, relu.
fn bowl(params: &Params) -> Outcome {
    let penalty = if params["act"] == "relu" { 0.0 } else { 0.3 };
    let units = (number(params, "units") - 32.0) / 64.0;
    Outcome::Observed((number(params, "lr") - 0.3).powi(2) + units.powi(2) + penalty)
}

fn bowl_params() -> Value {
    json!({
        "lr": {"kind": "uniform", "value": [0, 1]},
        "units": {"kind": "range", "value": [16, 128, 16]},
        "act": {"kind": "choice", "value": ["relu", "tanh", "elu"]},
    })
}

fn bayes(utility: Value, rounds: u64) -> Search {
    search(json!({
        "kind": "bayes", "numInitialRuns": 5, "maxIterations": rounds, "seed": 10,
        "metric": {"name": "loss", "optimization": "minimize"}, "utilityFunction": utility, "params": bowl_params(),
    }))
}

#[test]
fn bayes_finds_the_bottom_of_a_bowl_with_every_formula_and_kernel() {
    for utility in [
        json!({"acquisitionFunction": "ucb", "kappa": 1.2}),
        json!({"acquisitionFunction": "ei", "eps": 0.01}),
        json!({"acquisitionFunction": "poi", "eps": 0.01, "gaussianProcess": {"kernel": "rbf"}}),
        json!({"acquisitionFunction": "ei", "eps": 0.0, "gaussianProcess": {"nu": 1.9, "numRestartsOptimizer": 2}}),
    ] {
        let (asked, trials, end) = run(&bayes(utility.clone(), 16), 0, 1, false, bowl);
        let (value, params) = best(&trials);
        assert_eq!((asked.len(), end), (21, Next::Done));
        assert!(value < 0.01 && params["act"] == "relu", "{utility}: {value} at {}", json!(params));
    }
}

#[test]
fn bayes_of_several_at_once_spreads_out_and_still_finds_it() {
    let (asked, trials, _) = run(&bayes(json!({"acquisitionFunction": "ei", "eps": 0.01}), 24), 0, 4, true, bowl);
    let distinct: BTreeSet<String> = asked.iter().map(|one| json!(one.params).to_string()).collect();
    assert_eq!(distinct.len(), 29);
    assert!(best(&trials).0 < 0.02, "{:?}", best(&trials));
}

#[test]
fn bayes_ends_when_every_point_has_been_tried_and_fails_when_nothing_was_seen() {
    let written = json!({
        "kind": "bayes", "numInitialRuns": 2, "maxIterations": 50, "metric": {"name": "m"},
        "params": {"a": {"kind": "choice", "value": [1, 2, 3]}, "b": {"kind": "range", "value": [0, 3, 1]}},
    });
    let (asked, _, end) = run(&search(written.clone()), 0, 1, true, |params| Outcome::Observed(number(params, "b")));
    assert_eq!((asked.len(), end), (9, Next::Done));
    let (asked, _, end) = run(&search(written), 0, 1, true, |_| Outcome::Lost);
    assert_eq!((asked.len(), end), (2, Next::Fail(Failure::NothingObserved)));
}

fn hyperopt(algorithm: &str, runs: u64, rounds: u64) -> Search {
    search(json!({
        "kind": "hyperopt", "algorithm": algorithm, "numRuns": runs, "maxIterations": rounds, "seed": 10,
        "metric": {"name": "loss", "optimization": "minimize"}, "params": bowl_params(),
    }))
}

#[test]
fn tpe_and_annealing_learn_and_random_does_not() {
    let average = |algorithm: &str| {
        let (asked, trials, end) = run(&hyperopt(algorithm, 10, 8), 0, 5, true, bowl);
        assert_eq!((asked.len(), end), (80, Next::Done));
        let late = trials[40..].iter().map(|trial| if let Outcome::Observed(v) = trial.outcome { v } else { 9.0 });
        (late.sum::<f64>() / 40.0, best(&trials).0)
    };
    let (random, tpe, anneal) = (average("rand"), average("tpe"), average("anneal"));
    assert!(tpe.0 < 0.6 * random.0 && tpe.1 < 0.01, "tpe {tpe:?}, random {random:?}");
    assert!(anneal.0 < 0.6 * random.0 && anneal.1 < 0.02, "anneal {anneal:?}, random {random:?}");
}

/// The worked example of Polyaxon: twelve observations, after which its tpe asks for lr .276, .437, .196, all relu.
#[test]
fn tpe_goes_to_the_region_of_the_original() {
    let search = search(json!({
        "kind": "hyperopt", "algorithm": "tpe", "numRuns": 12, "maxIterations": 2, "seed": 10,
        "metric": {"name": "loss", "optimization": "minimize"},
        "params": {"lr": {"kind": "uniform", "value": [0, 1]}, "act": {"kind": "choice", "value": ["relu", "tanh"]}},
    }));
    let trial = |i: u32| {
        let (lr, act) = (f64::from(i) / 12.0, if i.is_multiple_of(2) { "relu" } else { "tanh" });
        let loss = (lr - 0.3).powi(2) + if act == "tanh" { 0.1 } else { 0.0 };
        let params = json!({"lr": lr, "act": act}).as_object().unwrap().clone();
        Trial { params, outcome: Outcome::Observed(loss) }
    };
    let past: Vec<Trial> = (0..12).map(trial).collect();
    let Next::Suggest(made) = Tuner::new(&search, 0, None).next(&Past::of(&past), 12) else { panic!("twelve more") };
    let near = |one: &&Suggestion| (0.05..0.55).contains(&number(&one.params, "lr")) && one.params["act"] == "relu";
    let hits = made.iter().filter(near).count();
    assert!(hits >= 9, "{hits} of 12: {}", json!(made));
}

#[test]
fn a_tuner_of_the_user_is_asked_round_after_round() {
    let search = search(json!({"kind": "iterative", "maxIterations": 2, "tuner": {"hubRef": "mine"}}));
    let mut tuner = Tuner::new(&search, 0, None);
    let point = |n: u32| json!({ "n": n }).as_object().unwrap().clone();
    let mut answers: Vec<Vec<Params>> = Vec::new();
    let mut trials: Vec<Trial> = Vec::new();
    let ask = |tuner: &mut Tuner, trials: &[Trial], answers: &[Vec<Params>], free| {
        tuner.next(&Past { taken: trials.len() as u64, trials, answers }, free)
    };
    assert_eq!(ask(&mut tuner, &trials, &answers, 5), Next::Ask(0));
    answers.push(vec![point(1), point(2)]);
    let Next::Suggest(made) = ask(&mut tuner, &trials, &answers, 1) else { panic!("one slot is free") };
    assert_eq!((made.len(), made[0].params["n"].clone()), (1, json!(1)));
    trials.push(Trial { params: point(1), outcome: Outcome::Pending });
    assert_eq!(ask(&mut tuner, &trials, &answers, 0), Next::Wait);
    trials.push(Trial { params: point(2), outcome: Outcome::Observed(1.0) });
    assert_eq!(ask(&mut tuner, &trials, &answers, 5), Next::Wait);
    trials[0].outcome = Outcome::Lost;
    assert_eq!(ask(&mut tuner, &trials, &answers, 5), Next::Ask(1));
    answers.push(vec![]);
    assert_eq!(ask(&mut tuner, &trials, &answers, 5), Next::Fail(Failure::EmptyIteration));
    answers[1].push(point(3));
    trials.push(Trial { params: point(3), outcome: Outcome::Observed(1.0) });
    assert_eq!(ask(&mut tuner, &trials, &answers, 5), Next::Done);
}

fn any_param() -> impl Strategy<Value = Value> {
    prop_oneof![
        (1usize..4)
            .prop_map(|n| json!({"kind": "choice", "value": (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>()})),
        (1u32..6).prop_map(|n| json!({"kind": "range", "value": [0, n, 0.5]})),
        (2u32..6).prop_map(|n| json!({"kind": "geomspace", "value": [1, 100, n]})),
        Just(json!({"kind": "uniform", "value": [-1, 2]})),
        (1u32..4).prop_map(|n| json!({"kind": "quniform", "value": [0, n, 0.5]})),
        Just(json!({"kind": "loguniform", "value": [-3, 0]})),
        Just(json!({"kind": "qlognormal", "value": [0, 1, 0.5]})),
        Just(json!({"kind": "daterange", "value": ["2024-02-27", "2024-03-02", 1]})),
    ]
}

/// Whether a value can come of a param.
fn belongs(written: &Value, value: &Value) -> bool {
    let at = |i: usize| written["value"][i].as_f64().unwrap();
    let grain = |q: f64, value: f64| ((value / q).round() * q - value).abs() < 1e-9;
    match (written["kind"].as_str().unwrap(), value.as_f64()) {
        ("choice", _) => written["value"].as_array().unwrap().contains(value),
        ("range", Some(v)) => v >= at(0) && v < at(1) && grain(at(2), v - at(0)),
        ("geomspace", Some(v)) => v >= at(0) - 1e-9 && v <= at(1) + 1e-9,
        ("uniform", Some(v)) => v >= at(0) && v <= at(1),
        ("quniform", Some(v)) => v >= at(0) && v <= at(1) && grain(at(2), v),
        ("loguniform", Some(v)) => v >= at(0).exp() - 1e-12 && v <= at(1).exp() + 1e-12,
        ("qlognormal", Some(v)) => v >= 0.0 && grain(at(2), v),
        ("daterange", _) => value.as_str().unwrap() >= "2024-02-27" && value.as_str().unwrap() < "2024-03-02",
        _ => false,
    }
}

fn any_search() -> impl Strategy<Value = Value> {
    let params = prop::collection::btree_map("[a-d]", any_param(), 1..4);
    (params, 0usize..5, 1u64..12, 1u64..4).prop_map(|(params, kind, runs, rounds)| {
        let metric = json!({"name": "m", "optimization": if runs % 2 == 0 { "minimize" } else { "maximize" }});
        let even: serde_json::Map<String, Value> =
            params.iter().filter(|(_, p)| !p["kind"].as_str().unwrap().contains(['q', 'l'])).map(|(n, p)| (n.clone(), p.clone())).collect();
        match kind {
            0 => json!({"kind": "random", "numRuns": runs * 3, "params": params}),
            1 => json!({
                "kind": "hyperband", "maxIterations": runs * 3, "eta": 2 + rounds, "metric": metric, "params": params,
                "resource": {"name": "r", "type": "float"},
            }),
            2 if !even.is_empty() => json!({
                "kind": "bayes", "numInitialRuns": runs.min(4), "maxIterations": rounds * 2, "metric": metric, "params": even,
            }),
            3 => json!({
                "kind": "hyperopt", "algorithm": "anneal", "numRuns": runs, "maxIterations": rounds, "metric": metric,
                "params": params,
            }),
            _ => json!({
                "kind": "hyperopt", "algorithm": "tpe", "numRuns": runs + 6, "maxIterations": rounds, "metric": metric,
                "params": params,
            }),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is searched and whatever fails: made anew at every step it is the same search, no suggestion comes
    /// twice, and every value belongs to its param.
    #[test]
    fn an_interrupted_search_is_the_same_search(written in any_search(), seed: u64, slots in 1usize..5) {
        let wanted = search(written.clone());
        let metric = |params: &Params| {
            // Some fail; the others have a value that depends on the params alone.
            let text = json!(params).to_string();
            let sum: u64 = text.bytes().map(u64::from).sum();
            if sum.is_multiple_of(7) { Outcome::Lost } else { Outcome::Observed((sum % 101) as f64) }
        };
        let (asked, _, end) = run(&wanted, seed, slots, false, metric);
        let (again, _, end_again) = run(&wanted, seed, slots, true, metric);
        prop_assert_eq!(&asked, &again);
        prop_assert_eq!(end, end_again);
        for one in &asked {
            for (name, value) in one.params.iter().filter(|(name, _)| *name != "r") {
                prop_assert!(belongs(&written["params"][name], value), "{} of {}", value, written["params"][name]);
            }
        }
        if written["kind"] != "hyperband" {
            let distinct: BTreeSet<String> = asked.iter().map(|one| json!(one.params).to_string()).collect();
            prop_assert_eq!(distinct.len(), asked.len(), "{}", written);
        }
    }
}
