//! The 63 bugs of other dispatchers that we know of, each with the test that would show it here, or with the
//! construction by which it cannot occur. The tests stand in `bugs_limits`, `bugs_stuck` and `bugs_double`.

use std::collections::BTreeSet;

use Excluded::{Built, Tested};

/// Why a bug is not in here.
enum Excluded {
    /// By a test of this name.
    Tested(&'static str),
    /// By construction: what excludes it, the file that holds it, and a piece of that file.
    Built(&'static str, &'static str, &'static str),
}

/// By number: system and issue, and what excludes it.
const BUGS: [(&str, Excluded); 63] = [
    // A limit exceeded, or quota made out of nothing.
    ("argo #10286 #11098", Tested("argo_10286_11098_a_restart_forgets_no_holder")),
    (
        "argo #16160",
        Built(
            "no counter is stored: a snapshot is recounted from its runs, and one that cannot be read is thrown away",
            "src/domain/dispatch/snapshot.rs",
            "take_slot(",
        ),
    ),
    ("argo #16405", Tested("argo_16405_a_slot_is_given_back_whatever_became_of_the_limit")),
    ("argo #15558", Tested("argo_15558_the_end_of_a_run_wakes_who_waits_in_another_queue")),
    ("argo #15239", Tested("argo_15239_who_has_its_slot_stands_in_no_line")),
    ("argo #14467", Tested("argo_14467_everything_that_a_run_holds_is_released")),
    ("argo #14606", Tested("argo_14606_what_runs_is_not_admitted_again_after_a_restart")),
    ("airflow #1275", Tested("airflow_1275_a_limit_below_its_use_is_no_unlimited_one")),
    ("airflow #15399 #15426", Tested("airflow_15399_15426_wide_operations_count_as_wide")),
    ("airflow #15793", Tested("airflow_15793_a_slot_counts_from_the_decision_on")),
    ("airflow #69187", Tested("airflow_69187_volcano_5130_5100_every_status_between_counts_once")),
    ("airflow #23143", Tested("airflow_23143_a_queue_beyond_its_limit_blocks_no_other")),
    ("prefect #14869", Tested("prefect_14869_one_free_slot_starts_one")),
    ("prefect #10771", Tested("prefect_10771_the_limit_holds_on_every_way_into_a_queue")),
    ("kueue #822", Tested("kueue_822_who_borrows_stays_within_what_all_have")),
    ("kueue #2873 #2879", Tested("kueue_2873_2879_a_resource_taken_out_of_a_quota_frees_nothing")),
    ("kueue #6027", Tested("kueue_6027_10797_what_is_gone_has_no_part_of_the_division_any_more")),
    ("kueue #10797", Tested("kueue_6027_10797_what_is_gone_has_no_part_of_the_division_any_more")),
    ("kueue #11139 #11140 #11182 #14113", Tested("kueue_11139_11140_11182_14113_no_sum_of_requests_wraps")),
    ("kueue #13392", Tested("kueue_13392_there_are_no_negative_requests")),
    (
        "kueue #6257 #11554 #11558",
        Built(
            "what a run asks for never changes: it is its shape, given when it is created",
            "src/domain/dispatch/queues.rs",
            "pub(super) struct Shape",
        ),
    ),
    ("kueue #1651", Tested("kueue_1651_nothing_starts_after_a_hold")),
    ("kueue #7944 #6711", Tested("kueue_7944_6711_who_may_not_run_is_not_started_for_a_moment_either")),
    ("armada #4879", Tested("armada_4879_what_runs_below_is_not_free_for_those_above")),
    ("volcano dceaa6cc", Tested("volcano_dceaa6cc_an_end_that_is_told_twice_frees_one_slot")),
    ("volcano #5130 #5100", Tested("airflow_69187_volcano_5130_5100_every_status_between_counts_once")),
    ("slurm 23.02.4", Tested("slurm_23_02_4_every_kind_of_resource_counts")),
    ("slurm, licences", Tested("slurm_backfill_does_not_oversubscribe_licences")),
    ("nomad #27284", Tested("nomad_27284_looking_again_while_starts_are_under_way_starts_no_more")),
    // Stuck although there is room, or a slot kept or taken away wrongly.
    ("nomad #17278", Tested("nomad_17278_who_waits_for_capacity_is_woken_by_it_although_there_is_a_quota")),
    ("nomad #26710", Tested("nomad_26710_a_history_that_breaks_off_anywhere_goes_on")),
    ("kueue #13969", Tested("kueue_13969_why_it_waits_is_never_stored")),
    ("kueue #6929 #6947 #7101", Tested("kueue_6929_6947_7101_an_impossible_first_blocks_nobody_and_makes_no_noise")),
    ("kueue #13320", Tested("kueue_13320_a_wide_run_is_not_passed_for_ever")),
    (
        "kueue #10208",
        Built(
            "nothing is preempted and nothing expected: what is owed is read off the state",
            "src/domain/dispatch/outbox.rs",
            "pub fn outbox",
        ),
    ),
    (
        "kueue #11648",
        Built("nothing waits for a preemption, for there is none", "src/domain/dispatch/outbox.rs", "pub fn outbox"),
    ),
    ("kueue #9661", Tested("kueue_9661_a_priority_changes_also_for_those_who_wait")),
    ("kueue #9598 #9639", Tested("kueue_9598_9639_a_run_stands_in_one_place")),
    ("kueue #13687 #13734", Tested("kueue_13687_13734_a_limit_that_grows_wakes_those_that_it_held")),
    (
        "kueue #13903",
        Built("a pass hands over or parks: it tries nothing twice", "src/domain/dispatch/lines.rs", "parked = true"),
    ),
    (
        "kueue #7817",
        Built(
            "a pass cannot fail; when the append does, the state is folded anew and passed again",
            "src/engine.rs",
            "fn rebuild",
        ),
    ),
    ("kueue #3612", Tested("kueue_3612_a_new_leader_goes_on_where_the_old_one_stopped")),
    (
        "volcano 5be98af3",
        Built(
            "deciding has the state to read only; events alone change it",
            "src/domain/dispatch/decide.rs",
            "pub fn decide(state: &State",
        ),
    ),
    ("volcano #3670", Tested("volcano_3670_a_thousand_that_want_one_agent_do_not_block_another")),
    ("volcano 2110b5b3", Tested("volcano_2110b5b3_a_queue_that_can_do_nothing_stops_no_other")),
    ("yunikorn 3092", Tested("yunikorn_3092_no_reservation_outlives_its_owner")),
    (
        "yunikorn 2548 2806",
        Built("one thread owns the state, so there is no order of locks to get wrong", "src/engine.rs", "struct Loop"),
    ),
    ("yunikorn 2273", Tested("yunikorn_2273_a_middle_without_a_limit_is_no_fault")),
    ("slurm, rounding", Tested("slurm_what_asks_for_exactly_what_there_is_starts")),
    ("dagster #32560 #33643", Tested("dagster_32560_33643_a_stopped_run_gives_its_slot_back")),
    ("dagster #25109", Tested("dagster_25109_the_first_run_needs_nothing_that_only_a_run_could_make")),
    ("prefect #9895 #17415 #21794", Tested("prefect_9895_17415_21794_what_is_lost_is_said_once_and_frees_one_slot")),
    ("infrahub #9856", Tested("infrahub_9856_a_start_that_nobody_saw_is_owed_until_somebody_does")),
    (
        "prefect #18893 #18942 #19068 #21925",
        Tested("prefect_18893_18942_19068_21925_an_agent_out_of_reach_loses_nothing"),
    ),
    // Dispatched twice, or an update lost.
    ("airflow #57618", Tested("airflow_57618_armada_5111_two_writers_cannot_both_advance_a_run")),
    ("airflow #23520 #35676", Tested("airflow_23520_35676_a_restart_launches_nothing_that_is_known_to_be_there")),
    ("airflow #69760", Tested("airflow_69760_the_word_of_an_old_attempt_counts_for_nothing")),
    ("nomad #27353", Tested("nomad_27353_one_token_is_one_run")),
    ("armada #4918", Tested("armada_4918_a_cursor_moves_together_with_what_it_stands_for")),
    ("armada #5111", Tested("airflow_57618_armada_5111_two_writers_cannot_both_advance_a_run")),
    (
        "armada #4584",
        Built(
            "when an append fails nothing of memory is kept: the state is folded anew",
            "src/engine.rs",
            "fn rebuild",
        ),
    ),
    ("armada #4970", Tested("armada_4970_an_older_sight_never_overwrites_a_newer_one")),
    ("kueue #12999", Tested("kueue_12999_a_connection_that_comes_and_goes_moves_nothing")),
];

/// Of the last class in the list of others: slow, or starved, with many pending. Their construction (nobody who cannot
/// start is looked at: a node stands in its parent's set if and only if it can hand over) is measured by
/// `benches/dispatch.rs`, and one of them has a test.
const SLOW: [&str; 1] = ["airflow_45636_21473_blocked_runs_in_front_hide_nobody"];

#[test]
fn each_of_the_63_has_a_test_or_a_construction() {
    let files = [include_str!("bugs_limits.rs"), include_str!("bugs_stuck.rs"), include_str!("bugs_double.rs")];
    let after = |line: &str| line.strip_prefix("fn ")?.split('(').next().map(str::to_owned);
    let lines: Vec<&str> = files.iter().flat_map(|file| file.lines()).collect();
    let tests = lines.windows(2).filter(|pair| pair[0] == "#[test]").filter_map(|pair| after(pair[1]));
    let tests: BTreeSet<String> = tests.collect();
    let mut named: BTreeSet<String> = SLOW.into_iter().map(str::to_owned).collect();
    for (n, (bug, excluded)) in BUGS.iter().enumerate() {
        match excluded {
            Tested(test) => {
                assert!(tests.contains(*test), "{} {bug}: there is no test {test}", n + 1);
                // The test says which bug it is about.
                let system = bug.split([' ', ',']).next().unwrap();
                assert!(test.contains(system), "{} {bug}: {test} is about another system", n + 1);
                for issue in bug.split('#').skip(1).map(str::trim) {
                    assert!(test.contains(issue), "{} {bug}: {test} is about another issue", n + 1);
                }
                named.insert((*test).to_owned());
            }
            Built(why, file, piece) => {
                let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR")));
                assert!(text.is_ok_and(|text| text.contains(piece)), "{} {bug}: `{piece}` is not in {file}", n + 1);
                assert!(!why.is_empty());
            }
        }
    }
    assert_eq!(named, tests, "every test is about one of them");
}
