//! `replay`: what a real agent recorded, once more.

use super::output::{print, print_json};
use crate::cli::Format;
use crate::replay::{self, Moment, Told, Window};
use anyhow::{Context, ensure};
use quorate_core::verdict::Certificate;
use quorate_mesh::recording::{Replay, Summary};
use quorate_mesh::{EventKind, MeshView};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the agent recorded (`record.path` in its configuration).
    pub file: PathBuf,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Tell only what happened from then on: a time such as 2026-01-31T12:00:00Z, or one since the beginning such as 90s.
    #[arg(long, value_name = "T")]
    pub from: Option<Moment>,
    /// Tell only what happened before then.
    #[arg(long, value_name = "T")]
    pub to: Option<Moment>,
    /// Tell every event, registrations included.
    #[arg(long)]
    pub events: bool,
}

/// `replay`. Returns whether the engine did the same again.
///
/// # Errors
/// When the file cannot be read, is no recording, or is damaged, or nothing can be between the two moments.
pub fn replay(args: &Args) -> anyhow::Result<bool> {
    let window = Window { from: args.from, to: args.to, every_event: args.events };
    ensure!(!window.is_void(), "--to must be later than --from");
    let shown = || args.file.display().to_string();
    let about = std::fs::metadata(&args.file).with_context(shown)?;
    ensure!(about.is_file(), "{} is not a file", args.file.display());
    let bytes = std::fs::read(&args.file).with_context(shown)?;
    let mut replay = Replay::open(&bytes).with_context(shown)?;
    let summary = match args.output {
        Format::Text => tell(&mut replay, window).with_context(shown)?,
        Format::Json => tell_json(&mut replay, window).with_context(shown)?,
    };
    Ok(summary.difference.is_none())
}

fn tell(replay: &mut Replay<'_>, window: Window) -> anyhow::Result<Summary> {
    let software = replay.opening().software.clone();
    print(&replay::about(replay.opening()))?;
    let summary = replay::run(replay, window, |replay, told| print(&replay::line(&replay.view(), told)))?;
    if summary.torn_bytes > 0 {
        print(&format!(
            "the last {} bytes are an unfinished record: the agent ended while it wrote",
            summary.torn_bytes
        ))?;
    }
    match &summary.difference {
        None => {
            let Summary { inputs, outputs, hash, .. } = &summary;
            print(&format!("identical: {inputs} inputs, {outputs} outputs, hash {hash:016x}"))?;
        }
        Some(difference) => {
            print(&format!("different at {}, {difference}", replay::moment(difference.now.wall)))?;
            let this = env!("CARGO_PKG_VERSION");
            let advice = if software == this {
                format!("this program is {this} too: was it built from the same source?")
            } else {
                format!("recorded by {software}, this program is {this}: use the same release")
            };
            print(&advice)?;
        }
    }
    Ok(summary)
}

fn tell_json(replay: &mut Replay<'_>, window: Window) -> anyhow::Result<Summary> {
    let mut events = Vec::new();
    let summary = replay::run(replay, window, |replay, told| {
        events.push(event(&replay.view(), told)?);
        Ok(())
    })?;
    let opening = replay.opening();
    let different = summary.difference.as_ref().map(|difference| {
        json!({
            "input": difference.input, "kind": difference.kind.to_string(), "at": replay::moment(difference.now.wall),
            "detail": difference.what,
        })
    });
    print_json(&json!({
        "recording": {
            "software": opening.software, "agent": opening.agent, "name": opening.name, "boot": opening.boot,
            "from": replay::moment(opening.at), "stored_bytes": opening.stored_bytes, "torn_bytes": summary.torn_bytes,
        },
        "events": events,
        "identical": summary.difference.is_none(),
        "inputs": summary.inputs,
        "outputs": summary.outputs,
        "hash": format!("{:016x}", summary.hash),
        "difference": different,
    }))?;
    Ok(summary)
}

/// An event as the agent's API tells it, with its moment and, for verdicts, the certificates.
fn event(view: &MeshView, told: &Told) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(&told.event)?;
    let mut more = json!({ "time": replay::moment(told.event.at), "after_s": told.after.as_secs_f64() });
    if let EventKind::Verdicts { changes, .. } = &told.event.kind {
        let proofs = changes.iter().filter_map(|change| replay::verdict(view, &change.instance, change.term));
        more["certificates"] = Value::Array(proofs.map(|proof| certificate(&proof)).collect());
    }
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    Ok(value)
}

fn certificate(proof: &Arc<Certificate>) -> Value {
    let signed = proof.endorsements.iter().map(|signed| {
        json!({ "agent": signed.agent, "vote": signed.vote.to_string(), "signed_at": replay::moment(signed.signed_at) })
    });
    json!({
        "instance": proof.decision.instance, "term": proof.decision.term, "verdict": proof.decision.verdict,
        "observers": proof.decision.observers, "decided_at": replay::moment(proof.decided_at),
        "signed": signed.collect::<Vec<_>>(),
    })
}
