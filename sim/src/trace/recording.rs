//! Where the lines of a trace go: to a file, to memory for the report, or nowhere.

use super::line::{Line, Stamped};
use crate::time::SimTime;
use anyhow::Context;
use std::io::{self, Write};

/// What is recorded of a run besides its hash.
#[derive(Default)]
pub struct Recording {
    /// Takes each line as JSON.
    pub writer: Option<Box<dyn Write>>,
    /// Are lines kept in memory, but for probes, calls, links and sends?
    pub keep: bool,
    /// Are sends recorded, too?
    pub sends: bool,
    /// The lines kept.
    pub kept: Vec<Stamped>,
    broken: Option<io::Error>,
}

impl Recording {
    /// Is anything recorded?
    pub fn wanted(&self) -> bool {
        self.writer.is_some() || self.keep
    }

    /// Takes a line.
    pub fn take(&mut self, at: SimTime, line: Line) {
        let stamped = Stamped { t_ns: at.0, line };
        if let Some(writer) = &mut self.writer {
            let written = serde_json::to_writer(&mut *writer, &stamped).map_err(io::Error::from);
            if let Err(error) = written.and_then(|()| writer.write_all(b"\n")) {
                self.broken.get_or_insert(error);
            }
        }
        let bulky =
            matches!(stamped.line, Line::Probe { .. } | Line::Call { .. } | Line::Link { .. } | Line::Send { .. });
        if self.keep && !bulky {
            self.kept.push(stamped);
        }
    }

    /// Ends the lines.
    ///
    /// # Errors
    /// When any of them could not be written.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(mut writer) = self.writer.take() {
            writer.flush().context("the trace could not be written")?;
        }
        self.broken.take().map_or(Ok(()), |error| Err(error).context("the trace could not be written"))
    }
}
