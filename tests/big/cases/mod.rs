//! The cases.

mod clocks;
mod files;
mod ids;
mod large;
mod many;
mod names;
mod oversize;
mod sessions;
mod wide;

use std::future::Future;
use std::pin::Pin;

use binpulse_demo::Error;

use crate::stage::Figures;

type Outcome = Pin<Box<dyn Future<Output = Result<Figures, Error>>>>;

/// A case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it is a test of every day.
    pub(crate) is_quick: bool,
    /// Given whether its size is the full one.
    pub(crate) body: fn(bool) -> Outcome,
}

macro_rules! cases {
    ($($speed:ident $module:ident::$name:ident,)*) => {
        pub(crate) const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            is_quick: cases!(@ $speed),
            body: |whole| Box::pin($module::$name(whole)),
        }),*];
    };
    (@ quick) => { true };
    (@ large) => { false };
}

cases! {
    quick large::a_transaction_of_a_gibibyte_streams_through,
    quick large::a_compressed_transaction_of_a_gibibyte_streams_through,
    quick large::a_row_of_64_mebibytes_arrives_with_its_cell_left_out,
    quick large::rows_of_many_large_cells_arrive_with_some_left_out,
    quick wide::tables_of_200_and_of_4096_columns_arrive_whole,
    quick many::thousands_of_tables_arrive_each_in_its_lane,
    quick ids::a_table_id_that_comes_again_is_another_table,
    quick files::offsets_beyond_4_gibibytes_are_counted,
    quick oversize::a_row_over_the_limit_is_cut_put_elsewhere_or_halts_by_policy,
    quick oversize::a_lane_whose_head_is_refused_goes_on_or_halts_by_policy,
    quick names::odd_names_and_comments_arrive_as_they_are,
    quick sessions::every_sql_mode_and_time_zone_of_a_writer_gives_the_same_values,
    quick sessions::the_service_works_under_every_sql_mode_and_time_zone_of_the_server,
    quick clocks::a_source_whose_clock_steps_loses_nothing,
}
