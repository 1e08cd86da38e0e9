//! Reads a stream of server-sent events (HTML Living Standard, section 9.2.6) piece by piece, however it is cut.

/// The longest event kept, in bytes; a longer one is dropped whole.
const EVENT_MAX_BYTES: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The id of the last event that had one, this one included.
    pub id: String,
    /// Its type, `message` when it has none.
    pub kind: String,
    /// Its lines of data.
    pub data: String,
}

/// What has been read of the event that is under way.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    after_return: bool,
    id: String,
    kind: String,
    data: Vec<String>,
    bytes: usize,
}

impl Reader {
    /// Takes the next piece, and gives the events that it completes. Anything may come; nothing fails.
    pub fn read(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in piece {
            let second_of_pair = std::mem::replace(&mut self.after_return, *byte == b'\r') && *byte == b'\n';
            match byte {
                _ if second_of_pair => {}
                b'\r' | b'\n' => events.extend(self.end_line()),
                _ if self.bytes < EVENT_MAX_BYTES => {
                    self.line.push(*byte);
                    self.bytes += 1;
                }
                _ => {}
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data.push(value.to_owned()),
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let too_long = std::mem::take(&mut self.bytes) >= EVENT_MAX_BYTES;
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        if data.is_empty() || too_long {
            return None;
        }
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { id: self.id.clone(), kind, data: data.join("\n") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": a comment\n\nid: 1-42\nevent: member\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\nevent: x\n\n";

    fn event(id: &str, kind: &str, data: &str) -> Event {
        Event { id: id.into(), kind: kind.into(), data: data.into() }
    }

    #[test]
    fn any_cut_gives_the_same_events() {
        let wanted = [event("1-42", "member", "{\"a\":1}"), event("1-42", "message", "two\nlines")];
        for size in 1..STREAM.len() {
            let mut reader = Reader::default();
            let events: Vec<Event> = STREAM.as_bytes().chunks(size).flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(events, wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_dropped() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(b"data: "), []);
        for _ in 0..5 {
            assert_eq!(reader.read(&vec![b'x'; 1 << 20]), []);
        }
        assert_eq!(reader.read(b"\n\ndata: y\n\n"), [event("", "message", "y")]);
    }
}
