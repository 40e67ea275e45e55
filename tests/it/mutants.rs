//! The tests of the tests: a bug is seeded into the engine, and the law that is there to notice it has to fail.
//!
//! A law that passes with its bug tests nothing; so does one that fails without it, which its own run shows.

use crate::{grammar_law, grouped_queries, join_law, relational_law, simulation, snapshots, split_law, table_law};
use std::panic::catch_unwind;
use tidegate::log::partition;
use tidegate::mutant::{self, Mutant};

/// Partitions of keys as Kafka's own unit test has them.
fn keys_go_where_java_sends_them() {
    let vectors = [("21", -973_932_308i32), ("foobar", -790_332_482), ("abc", 479_470_107)];
    for (key, hash) in vectors {
        for partitions in [1, 3, 4, 7, 100] {
            assert_eq!(partition::java(key.as_bytes(), partitions), (hash & 0x7fff_ffff) % partitions as i32, "{key}");
        }
    }
}

#[test]
fn keys_and_partitions() {
    keys_go_where_java_sends_them();
}

/// Does the law fail with the bug? Its message goes to the output of this test.
fn caught(mutant: Mutant, law: fn()) {
    let result = catch_unwind(|| mutant::with(mutant, law));
    assert!(result.is_err(), "{mutant:?} was not noticed");
}

#[test]
fn offsets_before_rows() {
    caught(Mutant::OffsetsBeforeRows, simulation::crashes_and_doubtful_commits_change_nothing);
}

#[test]
fn another_partitioner() {
    caught(Mutant::Crc32Partitioner, keys_go_where_java_sends_them);
}

#[test]
fn late_rule_off_by_one() {
    caught(Mutant::LateOffByOne, split_law::each_equals_the_model_under_any_split);
}

#[test]
fn undo_set_kept_after_abort() {
    caught(Mutant::UndoKept, split_law::abort_and_replay_is_no_abort);
}

#[test]
fn stream_time_lost_on_restart() {
    caught(Mutant::StreamTimeLost, split_law::a_restart_from_the_changelog_goes_on);
}

#[test]
fn a_snapshot_with_rows_that_were_deleted() {
    caught(Mutant::SnapshotTrusted, snapshots::a_snapshot_whose_changelog_has_forgotten_deletions_is_set_aside);
}

#[test]
fn last_in_another_order() {
    caught(Mutant::LastByHash, split_law::last_is_the_fold_of_each);
}

#[test]
fn session_merge_without_tombstone() {
    caught(Mutant::MergeWithoutTombstone, split_law::each_equals_the_model_under_any_split);
}

#[test]
fn join_buffer_dropped_a_segment_early() {
    caught(Mutant::BufferDroppedEarly, join_law::abort_and_replay_of_a_join_is_no_abort);
}

#[test]
fn changes_of_a_table_kept_after_abort() {
    caught(Mutant::ChangesKept, table_law::tables_join_by_key);
}

#[test]
fn filter_that_is_not_bound() {
    caught(Mutant::FilterLost, grouped_queries::filter_is_a_case_in_the_argument);
}

#[test]
fn distinct_that_is_not_bound() {
    caught(Mutant::DistinctLost, grouped_queries::distinct_in_an_aggregate_is_a_query_of_distinct_rows_below_it);
}

#[test]
fn frames_that_are_not_bound() {
    caught(Mutant::FrameLost, grouped_queries::windows_are_what_a_simple_model_computes);
}

#[test]
fn a_grouping_set_that_is_not_planned() {
    caught(Mutant::LastSetLost, grouped_queries::grouping_sets_are_groupings_one_below_the_other);
}

#[test]
fn qualify_that_is_not_planned() {
    caught(Mutant::QualifyLost, grouped_queries::qualify_is_a_where_around_the_query);
}

#[test]
fn union_all_that_is_a_union() {
    caught(Mutant::UnionDeduplicates, grammar_law::some_queries_mean_the_same_in_every_form);
}

#[test]
fn a_join_with_its_equalities_alone() {
    caught(Mutant::ConditionsLost, relational_law::joins_on_several_conditions_are_those_of_nested_loops);
}

#[test]
fn not_in_with_two_values() {
    caught(Mutant::UnknownIsTrue, relational_law::in_knows_three_values);
}

#[test]
fn having_that_only_history_has() {
    caught(Mutant::HavingLost, grammar_law::having_means_the_same_in_every_form);
}
