//! What any system of nodes must do.

pub mod crashes;
mod file;
mod life;

#[cfg(feature = "grown")]
use crate::nodes::Nodes;
use crate::process::Process;
#[cfg(feature = "grown")]
use crate::sandboxes::Sandboxes;
use crate::system::System;

/// Each scenario as a test of the system that `$start` brings up; none where what it needs is not there.
macro_rules! scenarios {
    ($start:expr) => {
        scenarios! { $start =>
            life::a_message_is_followed_from_accepted_to_consumed,
            life::the_story_of_a_message_is_told,
            life::a_repeat_is_answered_alike_and_another_body_refused,
            life::consumers_and_totals_stay_over_a_restart,
            file::every_line_of_a_file_ends_as_consumed,
            file::bad_lines_are_named_and_the_others_go_on,
            crashes::what_was_answered_is_consumed_once_through_ten_kills,
        }
    };
    ($start:expr => $($module:ident :: $scenario:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $scenario() {
            let Some(mut system) = $start else { return };
            $module::$scenario(&mut system).await;
            system.holds().await;
        }
    )+};
}

mod one_process {
    use super::*;

    scenarios! { Some(Process::start().await) }
}

#[cfg(feature = "grown")]
mod three_nodes_in_one_process {
    use super::*;

    scenarios! { Sandboxes::start().await }
}

#[cfg(feature = "grown")]
mod three_processes {
    use super::*;

    scenarios! { Nodes::start().await }
}
