//! The trainer, on every device: it takes the steps that a plain loop takes, ends when it should with the weights it
//! should, goes back over time as far as it is told, finds what is not finite, and goes on from checkpoints.

mod accumulate;
mod checkpoints;
mod endings;
mod non_finite;
mod runs;
mod settings;
mod steps;

use crate::common::{DeviceTest, device_tests};

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        steps::a_plain_loop_gives_the_same_bits,
        steps::accumulated_items_are_one_step,
        steps::gradients_flow_back_as_far_as_they_are_told,
        steps::averages_are_validated_and_kept,
        steps::update_ratios_are_those_of_the_step,
        accumulate::ragged_items_make_the_step_of_one_batch,
        accumulate::a_short_last_chunk_weighs_less,
        accumulate::a_weight_that_is_none_is_refused,
        endings::the_best_weights_stay_and_the_last_come_back,
        endings::every_condition_ends_a_run,
        endings::an_end_stays_an_end,
        endings::the_rate_falls_on_a_plateau,
        endings::settings_that_contradict_each_other_are_refused,
        non_finite::a_loss_is_traced_to_where_it_began,
        non_finite::weights_that_overflow_are_not_saved,
        non_finite::a_gradient_is_traced_to_a_step_and_gates,
        checkpoints::a_run_in_parts_is_the_whole_run,
        checkpoints::a_damaged_checkpoint_is_passed_over,
        checkpoints::a_later_format_is_refused_and_stays,
        checkpoints::a_callback_ends_the_run_at_a_checkpoint,
        checkpoints::what_does_not_fit_is_refused_and_changes_nothing,
        checkpoints::the_best_and_what_was_kept_come_back,
        checkpoints::a_log_goes_on_where_the_run_does,
        runs::a_run_has_closures_of_its_own,
        runs::a_validation_of_the_run_satisfies_early_stopping,
        runs::streams_come_by_value_or_by_reference,
        runs::a_model_and_a_stream_go_on_elsewhere,
        settings::every_setting_that_has_changed_is_named,
        settings::allowed_changes_hold_from_the_next_item_on,
        settings::a_second_part_of_one_trainer_has_the_same_settings,
        settings::rates_that_overflow_are_refused_at_the_start,
    ]
}
