//! Pages about runs: [`Report`] writes one during a run, [`report_of_logs`] makes one from logs.

mod answer;
mod chart;
mod compare;
mod curve;
mod curves;
mod entry;
mod exhibit;
mod heat;
mod history;
mod html;
mod insight;
mod live;
mod memory;
mod pace;
mod page;
mod read;
mod results;
mod scale;
mod state;
mod tables;

pub use live::{Page, Report, report_of_logs};
