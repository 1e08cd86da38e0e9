//! The messages of `grpc.health.v1` (gRPC's health checking protocol), written and read by hand: each has one field. Five bytes come before a
//! message on the wire: whether it is compressed, and its length.

/// How a service is, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Nobody is in a position to say.
    Unknown = 0,
    /// It can be used.
    Serving = 1,
    /// It cannot.
    NotServing = 2,
    /// There is no such service; said by `Watch` alone.
    ServiceUnknown = 3,
}

impl Serving {
    /// Its word, as in the protocol's definition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }

    /// The one with this number.
    #[must_use]
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Unknown),
            1 => Some(Self::Serving),
            2 => Some(Self::NotServing),
            3 => Some(Self::ServiceUnknown),
            _ => None,
        }
    }
}

/// `HealthCheckRequest`: the service's name is field 1; empty for the server as a whole.
#[must_use]
pub fn request(service: &str) -> Vec<u8> {
    framed(&text(1, service.as_bytes()))
}

/// The service that a `HealthCheckRequest` asks about. `None` when it is no such message, or compressed.
#[must_use]
pub fn requested(framed: &[u8]) -> Option<String> {
    let mut service = String::new();
    for field in fields(message(framed)?) {
        if let (1, Content::Bytes(name)) = field? {
            service = std::str::from_utf8(name).ok()?.to_owned();
        }
    }
    Some(service)
}

/// `HealthCheckResponse`: the status is field 1.
#[must_use]
pub fn response(status: Serving) -> Vec<u8> {
    framed(&status_message(status))
}

/// The status in a `HealthCheckResponse`; absent means zero. `None` when it is no such message.
#[must_use]
pub fn responded(framed: &[u8]) -> Option<u64> {
    let mut status = 0;
    for field in fields(message(framed)?) {
        if let (1, Content::Number(number)) = field? {
            status = number;
        }
    }
    Some(status)
}

/// `HealthListResponse`: field 1 is a map of services to their `HealthCheckResponse`.
#[must_use]
pub fn list<'a>(services: impl IntoIterator<Item = (&'a str, Serving)>) -> Vec<u8> {
    let entries = services.into_iter().flat_map(|(service, status)| {
        let entry = [text(1, service.as_bytes()), text(2, &status_message(status))].concat();
        text(1, &entry)
    });
    framed(&entries.collect::<Vec<u8>>())
}

fn status_message(status: Serving) -> Vec<u8> {
    // Zero is not written.
    if status == Serving::Unknown { Vec::new() } else { vec![0x08, status as u8] }
}

/// A field of bytes; nothing when it is an empty name.
fn text(field: u8, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() && field == 1 {
        return Vec::new();
    }
    let mut written = vec![field << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        written.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    written.push(length as u8);
    written.extend_from_slice(bytes);
    written
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// The first message, if it is there as a whole and not compressed.
fn message(framed: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = framed.split_first_chunk::<5>()?;
    let [0, length @ ..] = *prefix else { return None };
    rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)
}

enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed size; no message here has one.
    Other,
}

/// The fields of a message by their number; ends after one that cannot be read.
fn fields(message: &[u8]) -> impl Iterator<Item = Option<(u64, Content<'_>)>> {
    let mut rest = Some(message);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        let field = field(bytes);
        rest = field.as_ref().map(|(_, _, rest)| *rest);
        Some(field.map(|(number, content, _)| (number, content)))
    })
}

fn field(bytes: &[u8]) -> Option<(u64, Content<'_>, &[u8])> {
    let (tag, after) = number(bytes)?;
    let (content, rest) = match tag & 7 {
        0 => {
            let (value, rest) = number(after)?;
            (Content::Number(value), rest)
        }
        1 => (Content::Other, after.get(8..)?),
        2 => {
            let (length, after) = number(after)?;
            let (bytes, rest) = after.split_at_checked(usize::try_from(length).ok()?)?;
            (Content::Bytes(bytes), rest)
        }
        5 => (Content::Other, after.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, content, rest))
}

/// A base-128 number at the beginning of `bytes`, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let digits = bytes.iter().take(end + 1).rev();
    let value = digits
        .map(|byte| u64::from(byte & 0x7f))
        .try_fold(0u64, |value, digit| Some(value.checked_mul(128)? | digit))?;
    Some((value, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_and_read() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(request(&"x".repeat(200))[5..8], [0x0a, 0xc8, 1]);
        for name in ["", "web", &"x".repeat(200)] {
            assert_eq!(requested(&request(name)).as_deref(), Some(name));
        }
        assert_eq!(requested(&[0, 0, 0, 0, 3, 0x0a, 1, 0xff]), None, "no text");
        assert_eq!(response(Serving::NotServing), [0, 0, 0, 0, 2, 8, 2]);
        assert_eq!(responded(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(responded(&[0, 0, 0, 0, 0]), Some(0), "absent is zero");
        assert_eq!(responded(&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 2]), Some(2), "other fields are skipped");
        for status in [Serving::Unknown, Serving::Serving, Serving::NotServing, Serving::ServiceUnknown] {
            assert_eq!(responded(&response(status)).and_then(Serving::of), Some(status));
        }
        for bad in
            [&[][..], &[0, 0, 0, 0, 3, 8, 1], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 1, 8], &[0, 0, 0, 0, 2, 0x12, 9]]
        {
            assert_eq!((responded(bad), requested(bad)), (None, None), "{bad:?}");
        }
        assert_eq!(number(&[0xff; 11]), None);
        assert_eq!(number(&[0xc8, 1, 7]), Some((200, &[7][..])));
    }

    #[test]
    fn a_list_is_a_map() {
        let web = [0x0a, 9, 0x0a, 3, b'w', b'e', b'b', 0x12, 2, 8, 2];
        let whole = [0x0a, 4, 0x12, 2, 8, 1];
        assert_eq!(list([("web", Serving::NotServing)])[5..], web);
        assert_eq!(list([("", Serving::Serving), ("web", Serving::NotServing)])[5..], [&whole[..], &web].concat());
        assert_eq!(
            list([("web", Serving::Unknown)])[5..],
            [0x0a, 7, 0x0a, 3, b'w', b'e', b'b', 0x12, 0],
            "absent is zero"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = (responded(&bytes), requested(&bytes), number(&bytes));
        }
    }
}
