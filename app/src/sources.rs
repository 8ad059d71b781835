//! From the command line to the configuration.

use crate::cli::{Check, Run, Settings};
use crate::services;
use artel_frame::check_services;
use artel_frame::config::{Compiled, Config, Problem, Sources};
use std::path::{Path, PathBuf};

/// The settings of a process: defaults, file, environment, arguments.
pub fn of(settings: &Settings) -> Sources {
    let sources = Sources::of_process(settings.config.clone()).compiled(Compiled::of_this_build());
    match &settings.data_dir {
        Some(folder) => sources.set("--data-dir", "node.data_dir", folder.display().to_string()),
        None => sources,
    }
}

pub fn of_run(run: &Run) -> Sources {
    with(of(&run.settings), run.listen.as_ref(), run.roles.as_ref())
}

pub fn of_check(check: &Check) -> Sources {
    with(of(&check.settings), check.listen.as_ref(), check.roles.as_ref())
}

fn with(mut sources: Sources, listen: Option<&String>, roles: Option<&Vec<String>>) -> Sources {
    if let Some(listen) = listen {
        sources = sources.set("--listen", "http.listen", listen.clone());
    }
    if let Some(roles) = roles {
        sources = sources.set_list("--roles", "node.roles", roles.clone());
    }
    sources
}

/// Reads and checks everything, the services' sections too.
pub fn load(sources: Sources) -> Result<Config, Vec<Problem>> {
    let services = services::all();
    Config::load_with(sources, |config| check_services(config, &services))
}

/// Where a node on this machine keeps what it knows: as given, or as configured.
pub fn data_dir(given: Option<&Path>) -> PathBuf {
    let sources = || Sources::of_process(None).compiled(Compiled::of_this_build());
    let configured = || Config::load(sources()).ok();
    match given {
        Some(folder) => folder.to_owned(),
        None => configured().map_or_else(|| PathBuf::from("data"), |config| config.node.data_dir),
    }
}
