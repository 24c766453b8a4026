//! The commands of operators: what they take, and what they were told.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::to_hub;
use crate::client::{admin::Admin, health::Health, hub::ClientError};

/// `fanfare health`
pub(super) fn health() -> Command {
    Command::new("health")
        .about("Say by the exit code whether a hub is alive: for health checks of containers")
        .arg(admin_url())
        .arg(
            Arg::new("ready")
                .long("ready")
                .action(ArgAction::SetTrue)
                .help("Ask whether it wants new subscribers, which one that drains does not"),
        )
        .after_help(
            "It exits with 0 if the hub answers within two seconds that it is, and with 1 if not.",
        )
}

/// What `fanfare health` was told.
pub(crate) fn to_health(flags: &ArgMatches) -> Result<Health, ClientError> {
    Ok(Health { admin: admin(flags)?, ready: flags.get_flag("ready") })
}

fn admin_url() -> Arg {
    let help = format!(
        "The operators' listener of the hub\n[default: {URL_DEFAULT}; env: {URL_VARIABLE}]"
    );
    Arg::new("admin-url").long("admin-url").value_name("URL").help(help)
}

fn admin(flags: &ArgMatches) -> Result<Admin, ClientError> {
    to_hub(flags, ["admin-url", "--admin-url", URL_VARIABLE, URL_DEFAULT]).map(Admin::new)
}

const URL_DEFAULT: &str = "http://127.0.0.1:8081";
const URL_VARIABLE: &str = "FANFARE_ADMIN_URL";
