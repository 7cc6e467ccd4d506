//! The checks, by the parts of the protocol that they are about.

use crate::server::Server;
use std::pin::Pin;

pub(crate) mod http_cancel;
pub(crate) mod http_endpoint;
pub(crate) mod http_headers;
pub(crate) mod http_health;
pub(crate) mod http_request_ids;
pub(crate) mod http_vapid;
pub(crate) mod http_webpush;
pub(crate) mod sp_ack;
pub(crate) mod sp_delivery;
pub(crate) mod sp_hello;
pub(crate) mod sp_register;
pub(crate) mod sp_socket;
pub(crate) mod sp_socket_limits;
pub(crate) mod wp_ack;
pub(crate) mod wp_backlog;
pub(crate) mod wp_broadcast;
pub(crate) mod wp_delivery;
pub(crate) mod wp_hello;
pub(crate) mod wp_register;
pub(crate) mod wp_socket;

/// A check of one item of the checklist.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The item and what is checked: `sp_27_a_second_hello_with_another_uaid_is_refused`.
    pub name: &'static str,
    /// Whether it waits for one of the [`Times`](crate::server::Times) to pass.
    pub is_slow: bool,
    /// Begins it. It panics with what it has found, as a test does.
    pub run: fn(Server) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Check {
    /// The item: `SP-27`.
    pub fn item(&self) -> String {
        let mut words = self.name.split('_');
        let (prefix, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        format!("{}-{number}", prefix.to_uppercase())
    }
}

/// Checks that wait for one of the [`Times`](crate::server::Times) to pass.
const SLOW: [&str; 7] = [
    "sp_4_a_silent_socket_is_closed_with_1008",
    "sp_5_pings_do_not_postpone_the_hello_timeout",
    "sp_8_an_idle_socket_gets_websocket_pings_only",
    "sp_9_a_socket_that_does_not_answer_is_closed_with_1011",
    "sp_40_an_unregister_ends_what_is_sent_again_by_timer",
    "sp_45_an_unacknowledged_update_is_sent_again_by_timer",
    "sp_46_an_acknowledged_update_is_not_sent_again_by_timer",
];

/// Calls a macro with the names of all checks, by the modules that they are in: a test suite makes its tests of it.
#[macro_export]
macro_rules! for_each_check {
    ($callback:ident) => {
        $callback! {
            sp_socket {
                sp_1_an_offered_push_notification_is_selected,
                sp_10_what_is_no_json_object_is_closed_with_1007,
                sp_11_a_message_above_the_limit_is_closed_with_1009,
                sp_12_an_empty_message_is_ignored,
                sp_13_a_binary_hello_works,
                sp_14_an_unknown_message_type_is_an_invalid_command,
                sp_15_an_error_reply_copies_the_request,
                sp_16_member_names_are_compared_exactly,
                sp_17_message_types_are_compared_without_case,
            }
            sp_socket_limits {
                sp_4_a_silent_socket_is_closed_with_1008,
                sp_5_pings_do_not_postpone_the_hello_timeout,
                sp_6_a_ping_is_answered_by_empty_braces,
                sp_7_a_second_ping_too_soon_is_an_error,
                sp_8_an_idle_socket_gets_websocket_pings_only,
                sp_9_a_socket_that_does_not_answer_is_closed_with_1011,
            }
            sp_hello {
                sp_19_a_hello_without_a_uaid_gets_a_new_one,
                sp_20_an_unknown_uaid_without_channels_is_adopted,
                sp_21_an_unknown_uaid_with_channels_gets_another,
                sp_22_a_known_uaid_with_its_channels_is_kept,
                sp_23_an_unregistered_channel_resets_the_uaid,
                sp_24_a_malformed_uaid_gets_a_new_one,
                sp_25_a_hello_with_wrong_types_is_an_invalid_command,
                sp_26_a_second_hello_sends_pending_updates_again,
                sp_27_a_second_hello_with_another_uaid_is_refused,
                sp_28_a_newer_socket_replaces_the_older,
                sp_29_the_end_of_the_replaced_socket_changes_nothing,
            }
            sp_register {
                sp_31_commands_before_hello_are_invalid,
                sp_32_a_register_gets_an_endpoint,
                sp_33_registering_again_changes_nothing,
                sp_34_a_register_without_a_uuid_is_invalid,
                sp_35_a_register_ignores_other_members,
                sp_36_the_same_channel_of_two_clients_is_two_channels,
                sp_38_an_unregister_of_anything_succeeds,
                sp_39_an_unregister_without_a_channel_is_invalid,
                sp_40_nothing_is_delivered_after_an_unregister,
                sp_40_an_unregister_ends_what_is_sent_again_by_timer,
            }
            sp_delivery {
                sp_41_a_put_arrives_live_with_its_data,
                sp_42_an_update_written_while_offline_follows_the_hello,
                sp_43_an_unacknowledged_update_comes_again_without_data,
                sp_44_of_several_writes_the_last_one_counts,
                sp_45_an_unacknowledged_update_is_sent_again_by_timer,
                sp_50_purge_is_answered_and_changes_nothing,
            }
            sp_ack {
                sp_46_an_acknowledged_update_does_not_come_again,
                sp_46_an_acknowledged_update_is_not_sent_again_by_timer,
                sp_47_only_the_pending_version_is_acknowledged,
                sp_48_an_ack_repeats_nothing,
                sp_49_a_malformed_ack_is_invalid_and_a_good_one_silent,
            }
            wp_hello {
                wp_1_a_hello_reply_has_what_browsers_need,
                wp_2_a_bare_hello_is_web_push,
                wp_3_a_stored_uaid_keeps_its_dialect,
                wp_4_an_unusable_uaid_gets_a_new_one,
                wp_5_channels_in_a_hello_have_no_effect,
                wp_6_a_second_hello_is_an_invalid_command,
            }
            wp_broadcast {
                wp_8_a_hello_learns_which_broadcasts_are_unknown,
            }
            wp_register {
                wp_12_a_key_restricts_the_endpoint,
                wp_13_a_key_is_the_same_in_each_spelling,
                wp_14_an_unusable_key_is_refused,
                wp_15_another_key_supersedes_the_endpoint,
                wp_16_replies_repeat_the_channel_exactly,
                wp_17_a_channel_that_is_no_uuid_is_an_invalid_command,
                wp_18_two_hundred_registers_at_once_are_answered,
                wp_19_unregister_is_always_confirmed,
                wp_20_an_unregistered_channel_has_nothing_left,
            }
            wp_delivery {
                wp_21_a_post_arrives_live,
                wp_22_data_is_the_body_in_base64url,
                wp_23_headers_are_those_of_the_encryption,
                wp_24_an_empty_body_only_wakes_up,
                wp_25_the_version_is_the_end_of_the_location,
                wp_26_a_stored_message_comes_until_it_is_acknowledged,
                wp_27_after_one_ack_only_the_other_comes_again,
                wp_30_a_live_message_comes_again_unless_it_was_not_to_be_kept,
                wp_31_a_message_not_to_be_kept_is_dropped_for_who_is_away,
                wp_32_an_expired_message_is_not_delivered,
            }
            wp_ack {
                wp_28_an_ack_deletes_the_message_whatever_its_code,
                wp_29_a_nack_has_no_effect,
                wp_40_urgency_holds_back_what_can_wait,
            }
            wp_backlog {
                wp_33_of_a_topic_only_the_last_message_is_kept,
                wp_34_topics_come_first_and_then_the_oldest,
                wp_35_a_batch_follows_when_the_last_is_acknowledged,
                wp_36_expired_messages_hold_nothing_up,
                wp_37_a_full_backlog_refuses_and_loses_nothing,
            }
            wp_socket {
                wp_38_a_second_ping_too_soon_is_closed_with_4774,
                wp_39_what_is_not_understood_is_closed,
            }
            http_endpoint {
                http_1_a_put_says_whether_the_client_is_connected,
                http_2_without_a_version_it_is_the_time,
                http_3_the_smallest_and_the_largest_version_are_accepted,
                http_4_what_is_no_version_is_refused,
                http_5_a_body_without_a_type_is_a_form,
                http_6_a_body_of_another_type_is_ignored,
                http_7_the_version_may_be_in_the_query,
                http_8_data_above_the_limit_is_refused,
                http_9_an_unusable_token_is_not_found_or_gone,
                http_10_other_methods_are_not_allowed,
                http_11_options_says_who_may_come,
            }
            http_webpush {
                http_13_a_post_is_answered_by_201_and_a_location,
                http_21_a_body_above_the_limit_is_refused,
                http_22_a_token_that_is_not_of_this_path_is_not_found,
                http_23_the_version_may_be_left_out_of_the_path,
                http_31_the_first_failure_answers,
                http_32_every_error_has_the_same_members,
                http_35_other_methods_are_not_allowed,
                http_36_options_says_who_may_come,
                http_37_receipts_are_not_produced,
            }
            http_headers {
                http_14_a_ttl_is_required_and_is_a_number,
                http_15_a_long_ttl_is_cut,
                http_16_a_topic_is_short_and_url_safe,
                http_17_an_urgency_is_given_once,
                http_18_a_body_needs_a_known_encoding,
                http_19_aesgcm_needs_salt_and_dh,
                http_20_aes128gcm_has_them_in_the_body,
            }
            http_vapid {
                http_25_a_restricted_endpoint_needs_an_authorization,
                http_26_a_restricted_endpoint_takes_its_key_in_each_spelling,
                http_27_a_foreign_key_is_refused_where_the_endpoint_is_restricted,
                http_28_a_token_that_is_not_valid_is_refused_everywhere,
                http_29_what_is_unusual_and_right_is_accepted,
                http_30_a_credential_that_is_none_is_refused,
            }
            http_cancel {
                http_33_a_message_can_be_taken_back,
                http_34_what_is_no_message_id_is_refused,
            }
            http_health {
                http_38_status_and_lbheartbeat_answer_at_each_address,
            }
            http_request_ids {
                http_41_every_answer_names_its_request,
            }
        }
    };
}

macro_rules! table {
    ($($module:ident { $($name:ident,)* })*) => {
        /// Every check there is.
        pub fn all() -> Vec<Check> {
            let mut all = vec![$($(Check {
                name: stringify!($name),
                is_slow: false,
                run: |server| Box::pin($module::$name(server)),
            }),*),*];
            for check in &mut all {
                check.is_slow = SLOW.contains(&check.name);
            }
            all
        }
    };
}

crate::for_each_check!(table);
