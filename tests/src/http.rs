//! Just enough of HTTP/1.1 to ask an agent: one request per connection, standard library only.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an agent may take to accept, and then to say the next thing.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer read, in bytes.
const ANSWER_MAX_BYTES: u64 = 64 << 20;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none, with its beginning.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.body)
            .map_err(|error| format!("status {}, no JSON ({error}): {:.200}", self.status, self.body))
    }
}

/// Asks for a path.
///
/// # Errors
/// When the far end cannot be reached or does not speak HTTP.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    request(address, "GET", path)
}

/// Puts nothing at a path.
///
/// # Errors
/// As [`get`].
pub fn put(address: SocketAddr, path: &str) -> io::Result<Answer> {
    request(address, "PUT", path)
}

/// Sends JSON, with a token if there is one.
///
/// # Errors
/// As [`get`].
pub fn send(address: SocketAddr, method: &str, path: &str, token: Option<&str>, json: &str) -> io::Result<Answer> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let (mut answer, body) = open_with(address, (method, path), &headers, PATIENCE, json)?;
    body.take(ANSWER_MAX_BYTES).read_to_string(&mut answer.body)?;
    Ok(answer)
}

fn request(address: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    let (mut answer, body) = open(address, method, path, &[], PATIENCE)?;
    body.take(ANSWER_MAX_BYTES).read_to_string(&mut answer.body)?;
    Ok(answer)
}

/// Sends a request and reads the head of the answer; the rest is left to be read. `patience` holds for each read.
pub(crate) fn open(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    patience: Duration,
) -> io::Result<(Answer, Box<dyn BufRead + Send>)> {
    open_with(address, (method, path), headers, patience, "")
}

fn open_with(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    patience: Duration,
    content: &str,
) -> io::Result<(Answer, Box<dyn BufRead + Send>)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        content.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{content}").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no HTTP: {line:?}")))?;
    let mut answer = Answer { status, headers: Vec::new(), body: String::new() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let chunked = answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let body: Box<dyn BufRead + Send> =
        if chunked { Box::new(BufReader::new(Chunks { reader, left: 0, ended: false })) } else { Box::new(reader) };
    Ok((answer, body))
}

/// A body in chunks (RFC 9112, section 7.1), without extensions and trailers.
struct Chunks<R> {
    reader: R,
    left: usize,
    ended: bool,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                line.clear();
                self.reader.read_line(&mut line)?;
            }
            self.left = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(0);
        }
        let most = self.left.min(buffer.len());
        let count = self.reader.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}
