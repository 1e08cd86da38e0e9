//! `plans`: what there is to try.

use super::output::{print, print_json};
use crate::cli::Format;
use crate::library;
use crate::plan::Plan;

/// Arguments of `plans`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// `plans`
///
/// # Errors
/// When a plan of the library is wrong.
pub fn plans(args: &Args) -> anyhow::Result<bool> {
    let plans: Vec<(String, Plan)> =
        library::PLANS.iter().map(|(name, _)| library::load(name)).collect::<Result<_, _>>()?;
    if args.output == Format::Json {
        let list: Vec<_> =
            plans.iter().map(|(name, plan)| serde_json::json!({ "name": name, "summary": plan.summary })).collect();
        print_json(&list)?;
    } else {
        for (name, plan) in plans {
            print(&format!("{name:<20} {}", plan.summary))?;
        }
    }
    Ok(true)
}
