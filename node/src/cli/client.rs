//! Asks an agent's HTTP API: HTTP/1.1, in the clear or over TLS, one request per connection, with a limit on time and on size.

use super::credentials;
use crate::answers::ErrorAnswer;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a whole answer may take; the agent gives up after ten seconds itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);
/// The largest answer read: 10,000 instances are about 8 MiB.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// What the API says to programs, and how it is said to people who use these commands.
const IN_COMMANDS: [(&str, &str); 9] = [
    ("send it as `Authorization: Bearer TOKEN`", "give it by --api-token-file FILE or QUORATE_API_TOKEN"),
    ("GET /v1/instances lists", "`quorate instances` lists"),
    ("GET /v1/instances names", "`quorate instances` names"),
    ("GET /v1/services lists", "`quorate services` lists"),
    ("GET /v1/members lists", "`quorate members` lists"),
    ("GET /v1/breakers lists", "`quorate breakers` lists"),
    ("ask that agent; its API is at ", "ask that agent: --addr "),
    ("GET /openapi.json lists the parameters", "--help says what may be given"),
    ("correct the body", "--help says what may be given"),
];

/// An agent's API.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    secure: bool,
    /// Is no token shown?
    anonymous: bool,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An answer, as it came and as it was understood.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// The JSON as the agent wrote it.
    pub body: String,
    /// What it says.
    pub answer: T,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// No agent answers at the address.
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What happened.
        detail: String,
    },
    /// There is no encrypted connection to it.
    Distrusted {
        /// Where.
        address: String,
        /// What happened.
        detail: String,
    },
    /// What this command was given for agents elsewhere cannot be used.
    Unusable {
        /// What is wrong with it.
        detail: String,
    },
    /// The agent answered with an error.
    Refused(StatusCode, Box<ErrorAnswer>),
    /// What answered is not an agent of this version.
    Unreadable {
        /// Where.
        address: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, detail } => write!(
                f,
                "no agent answers at {address}: {detail}.\n\
                 Start one on this host with `quorate init --data-dir DIR` and `quorate agent --data-dir DIR`,\n\
                 or name the API of a running one with --addr HOST:PORT or QUORATE_ADDR."
            ),
            Self::Distrusted { address, detail } => write!(
                f,
                "no trusted connection to {address}: {detail}.\n\
                 Name whom to believe with --ca or QUORATE_CA: a PEM file, or this host's data directory for the agents of its mesh."
            ),
            Self::Unusable { detail } => f.write_str(detail),
            Self::Refused(status, error) => {
                write!(f, "the agent refuses ({}, {}): {}", status.as_u16(), error.error, error.detail)?;
                let put = |said: String, (from, to): &(&str, &str)| said.replace(*from, to);
                let remedy = IN_COMMANDS.iter().fold(error.remedy.clone(), put);
                if !remedy.is_empty() {
                    write!(f, "\n{remedy}")?;
                }
                if !error.nearest.is_empty() {
                    write!(f, "\nNearest: {}", error.nearest.join(", "))?;
                }
                Ok(())
            }
            Self::Unreadable { address, detail } => {
                write!(f, "what answers at {address} is not the API of an agent, or of another version of it: {detail}")
            }
        }
    }
}

impl std::error::Error for AskError {}

impl AskError {
    /// The first line: what is wrong, without what to do about it.
    pub fn brief(&self) -> String {
        let text = self.to_string();
        text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
    }
}

impl Client {
    /// An agent's API at `host:port`, in the clear, or with a leading `https://` over TLS; a leading `http://` and a trailing `/` are forgiven.
    ///
    /// # Errors
    /// When it is not an address, in words.
    pub fn new(address: &str) -> Result<Self, String> {
        let (bare, secure) = match address.strip_prefix("https://") {
            Some(rest) => (rest, true),
            None => (address.strip_prefix("http://").unwrap_or(address), false),
        };
        let bare = bare.trim_end_matches('/');
        let port = bare.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(port)) if port > 0 => Ok(Self { address: bare.to_owned(), secure, anonymous: false }),
            _ => Err(format!("{address:?} is not HOST:PORT, such as 127.0.0.1:7701 or https://host-a:7702")),
        }
    }

    /// The same, asked without the token that this command was given: a token is one agent's, and another one refuses it.
    pub fn anonymous(&self) -> Self {
        Self { anonymous: true, ..self.clone() }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks for `path` and reads the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Reply<T>, AskError> {
        let (status, body) = self.text(path).await?;
        self.read(path, status, body)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, status: StatusCode, body: String) -> Result<Reply<T>, AskError> {
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        match serde_json::from_str(&body) {
            Ok(answer) => Ok(Reply { body, answer }),
            Err(error) => Err(self.unreadable(format!("{path}: {error}"))),
        }
    }

    /// Asks for `path` and takes the status and the body as they come.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn text(&self, path: &str) -> Result<(StatusCode, String), AskError> {
        self.whole(Request::get(path), String::new()).await
    }

    /// Has something changed, with a body in JSON unless it is empty, and reads the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Reply<T>, AskError> {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let (status, body) = self.whole(request, body).await?;
        self.read(path, status, body)
    }

    async fn whole(&self, request: Builder, body: String) -> Result<(StatusCode, String), AskError> {
        let whole = async {
            let response = self.open(request, body).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
            let body = body.map_err(|error| self.unreachable(error))?.to_bytes();
            String::from_utf8(body.to_vec()).map_err(|error| self.unreadable(error)).map(|body| (status, body))
        };
        match timeout(ANSWER_TIMEOUT, whole).await {
            Ok(answer) => answer,
            Err(_) => {
                let span = ANSWER_TIMEOUT.as_secs();
                Err(self.unreachable(format!("the connection stands, but no answer came within {span} s")))
            }
        }
    }

    /// Opens a stream of server-sent events, after the event with the id `last`.
    ///
    /// # Errors
    /// When the agent does not begin one.
    pub async fn stream(&self, path: &str, last: &str) -> Result<Incoming, AskError> {
        let request = Request::get(path).header("accept", "text/event-stream").header("last-event-id", last);
        let response = timeout(ANSWER_TIMEOUT, self.open(request, String::new())).await;
        let response = response.map_err(|_| self.unreachable("no answer in time"))??;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = Limited::new(response.into_body(), 1 << 16).collect().await.map(|body| body.to_bytes());
        Err(self.refusal(status, &String::from_utf8_lossy(&body.unwrap_or_default())))
    }

    async fn open(&self, request: Builder, body: String) -> Result<Response<Incoming>, AskError> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        let mut request = request.header("host", &self.address);
        let token = if self.anonymous { Ok(None) } else { credentials::token() };
        if let Some(token) = token.map_err(|error| self.unusable(&error))? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| self.unreadable(error))?;
        sender.send_request(request).await.map_err(|error| self.no_answer(&error))
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, AskError> {
        let late = || self.unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()));
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.address)).await.map_err(|_| late())?;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        if !self.secure {
            return Ok(Box::new(stream));
        }
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| self.unreachable(error))?;
        let tls = TlsConnector::from(credentials::tls().map_err(|error| self.unusable(&error))?);
        let stream = timeout(CONNECT_TIMEOUT, tls.connect(name, stream)).await.map_err(|_| late())?;
        Ok(Box::new(stream.map_err(|error| self.no_handshake(&error))?))
    }

    /// What answers does not speak HTTP/1.1; without TLS, it may be that which speaks TLS.
    fn no_answer(&self, error: &hyper::Error) -> AskError {
        let hint = match error.is_parse() && !self.secure {
            true => format!("\nIf it is the port for TLS (`api.tls_listen`), write https://{}", self.address),
            false => String::new(),
        };
        self.unreadable(format!("{error}{hint}"))
    }

    fn no_handshake(&self, error: &std::io::Error) -> AskError {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        if matches!(cause, Some(rustls::Error::InvalidMessage(_))) {
            let hint = format!("If it is the port without TLS (`api.listen`), write http://{}", self.address);
            return self.unreadable(format!("it does not speak TLS ({error})\n{hint}"));
        }
        AskError::Distrusted { address: self.address.clone(), detail: error.to_string() }
    }

    fn unusable(&self, error: &anyhow::Error) -> AskError {
        AskError::Unusable { detail: format!("{error:#}") }
    }

    fn refusal(&self, status: StatusCode, body: &str) -> AskError {
        match serde_json::from_str(body) {
            Ok(error) => AskError::Refused(status, Box::new(error)),
            Err(_) => self.unreadable(format!("status {status}")),
        }
    }

    fn unreachable(&self, detail: impl fmt::Display) -> AskError {
        AskError::Unreachable { address: self.address.clone(), detail: detail.to_string() }
    }

    fn unreadable(&self, detail: impl fmt::Display) -> AskError {
        AskError::Unreadable { address: self.address.clone(), detail: detail.to_string() }
    }
}

/// `text` as one part of a path: everything but letters, digits and `-._~@:` percent-encoded.
pub fn path_part(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b':' => {
                part.push(char::from(byte))
            }
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn addresses() {
        assert_eq!(Client::new("http://127.0.0.1:7701/").unwrap().address(), "127.0.0.1:7701");
        assert!(Client::new("[::1]:7701").is_ok());
        for bad in ["", "7701", ":7701", "localhost", "host:0", "host:x"] {
            assert!(Client::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn remedies_are_said_as_commands() {
        let told = |remedy: &str| {
            let json = format!(
                r#"{{"type":"urn:x","title":"t","status":404,"detail":"d","error":"e","remedy":"{remedy}","request_id":"1"}}"#
            );
            AskError::Refused(StatusCode::NOT_FOUND, Box::new(serde_json::from_str(&json).unwrap())).to_string()
        };
        for (remedy, said) in [
            ("GET /v1/instances lists them", "`quorate instances` lists them"),
            ("ask that agent; its API is at https://10.0.0.2:7702", "ask that agent: --addr https://10.0.0.2:7702"),
            ("correct the body", "--help says what may be given"),
            ("ask again", "ask again"),
        ] {
            assert_eq!(told(remedy), format!("the agent refuses (404, e): d\n{said}"));
        }
    }

    #[test]
    fn parts_of_a_path() {
        assert_eq!(path_part("web@[::1]:80"), "web@%5B::1%5D:80");
        assert_eq!(path_part("a b/c?"), "a%20b%2Fc%3F");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_a_remedy() {
        let error = Client::new("127.0.0.1:1").unwrap().text("/v1/health").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no agent answers at 127.0.0.1:1") && text.contains("quorate agent"), "{text}");
    }

    /// What a command says of something that answers whoever connects with these bytes.
    async fn told_of(scheme: &str, bytes: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).await;
            stream.write_all(bytes).await.unwrap();
            // The far end reads what came before it hears of the end.
            let _ = stream.read(&mut asked).await;
        });
        Client::new(&format!("{scheme}{address}")).unwrap().text("/v1/health").await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn the_wrong_scheme_is_said() {
        let alert = told_of("", &[0x15, 3, 3, 0, 2, 2, 50]).await;
        assert!(alert.contains("write https://127.0.0.1:"), "{alert}");
        let plain = told_of("https://", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        assert!(plain.contains("write http://127.0.0.1:") && !plain.contains("--ca"), "{plain}");
    }
}
