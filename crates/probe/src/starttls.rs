//! From plain text to TLS on one connection: SMTP (RFC 3207), IMAP (RFC 9051), POP3 (RFC 2595), PostgreSQL (`SSLRequest`).
//!
//! Answers are read byte by byte up to the end of their last line, so that nothing of the handshake that follows is taken for one of them, and nothing
//! that was sent before the handshake is taken for what was said under TLS.

use crate::failure::{Step, of_io, within};
use quorate_core::check::StartTls;
use quorate_core::{Cause, Phase, ProbeFailure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Bytes of all answers before the handshake at most.
const MAX_BYTES: usize = 8 * 1024;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Speaks until the server is ready for the handshake.
pub(crate) async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    how: StartTls,
    deadline: Instant,
) -> Step<()> {
    let mut talk = Talk { stream, read: 0 };
    within(deadline, Phase::Tls, async {
        match how {
            StartTls::Smtp => talk.smtp().await,
            StartTls::Imap => talk.imap().await,
            StartTls::Pop3 => talk.pop3().await,
            StartTls::Postgres => talk.postgres().await,
        }
    })
    .await?
}

struct Talk<'a, S> {
    stream: &'a mut S,
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn smtp(&mut self) -> Step<()> {
        self.smtp_reply("220").await?;
        self.say(b"EHLO quorate\r\n").await?;
        self.smtp_reply("250").await?;
        self.say(b"STARTTLS\r\n").await?;
        self.smtp_reply("220").await
    }

    /// A reply of several lines has a hyphen after the code of each but the last.
    async fn smtp_reply(&mut self, code: &str) -> Step<()> {
        loop {
            let line = self.line().await?;
            match line.strip_prefix(code) {
                Some(rest) if rest.starts_with('-') => {}
                Some(_) => return Ok(()),
                None => return Err(refused(&line)),
            }
        }
    }

    async fn imap(&mut self) -> Step<()> {
        let greeting = self.line().await?;
        if !greeting.starts_with("* OK") {
            return Err(refused(&greeting));
        }
        self.say(b"q1 STARTTLS\r\n").await?;
        loop {
            let line = self.line().await?;
            if line.starts_with("q1 OK") {
                return Ok(());
            }
            if !line.starts_with("* ") {
                return Err(refused(&line));
            }
        }
    }

    async fn pop3(&mut self) -> Step<()> {
        for say in [None, Some(b"STLS\r\n")] {
            if let Some(say) = say {
                self.say(say).await?;
            }
            let line = self.line().await?;
            if !line.starts_with("+OK") {
                return Err(refused(&line));
            }
        }
        Ok(())
    }

    async fn postgres(&mut self) -> Step<()> {
        self.say(&SSL_REQUEST).await?;
        match self.byte().await? {
            b'S' => Ok(()),
            b'N' => Err(refused("the server offers no TLS")),
            _ => Err(refused("not PostgreSQL")),
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Step<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| of_io(Phase::Tls, &error))
    }

    async fn line(&mut self) -> Step<String> {
        let mut line = Vec::new();
        loop {
            match self.byte().await? {
                b'\n' => break,
                byte => line.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
    }

    async fn byte(&mut self) -> Step<u8> {
        self.read += 1;
        if self.read > MAX_BYTES {
            let detail = format!("Invalid response: more than {MAX_BYTES} bytes before TLS");
            return Err(ProbeFailure::new(Phase::Tls, Cause::TooMuch, detail));
        }
        self.stream.read_u8().await.map_err(|error| of_io(Phase::Tls, &error))
    }
}

fn refused(line: &str) -> ProbeFailure {
    ProbeFailure::new(Phase::Tls, Cause::Protocol, format!("TLS error: no STARTTLS: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Authority, Server, assert_fail, assert_pass, probe};
    use quorate_core::check::{TlsCheck, TlsOptions};
    use quorate_core::{Check, CheckKind, Outcome};
    use rustls::ALL_VERSIONS;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::net::TcpStream;

    /// What a server says and waits for, in turns, before TLS.
    async fn against(turns: &'static [(&'static str, &'static str)], how: StartTls) -> Outcome {
        let authority = Authority::new();
        let identity = authority.sign(&["127.0.0.1"], |_| ());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server(&identity, ALL_VERSIONS, false)));
        let server = Server::raw(move |mut stream: TcpStream, _| {
            let acceptor = acceptor.clone();
            async move {
                for (say, wait) in turns {
                    let _ = stream.write_all(say.as_bytes()).await;
                    let mut heard = vec![0; wait.len()];
                    if stream.read_exact(&mut heard).await.is_err() || heard != wait.as_bytes() {
                        return;
                    }
                }
                let _ = acceptor.accept(stream).await;
            }
        })
        .await;
        let tls = TlsOptions { ca_file: Some(authority.ca_file()), ..TlsOptions::default() };
        let kind = CheckKind::Tls(TlsCheck { tls, starttls: Some(how) });
        let check = Check { kind, timeout: Duration::from_secs(5), ..Check::default() };
        probe(&server.target(), &check).await
    }

    #[tokio::test]
    async fn each_protocol_leads_to_a_handshake() {
        let smtp = &[
            ("220-mail\r\n220 ready\r\n", "EHLO quorate\r\n"),
            ("250-mail\r\n250-STARTTLS\r\n250 SIZE 1\r\n", "STARTTLS\r\n"),
            ("220 go\r\n", ""),
        ];
        let imap = &[("* OK ready\r\n", "q1 STARTTLS\r\n"), ("* CAPABILITY X\r\nq1 OK begin\r\n", "")];
        let pop3 = &[("+OK ready\r\n", "STLS\r\n"), ("+OK begin\r\n", "")];
        for (turns, how) in [(smtp.as_slice(), StartTls::Smtp), (imap, StartTls::Imap), (pop3, StartTls::Pop3)] {
            let outcome = against(turns, how).await;
            assert_pass(&outcome);
            assert!(outcome.tls.is_some_and(|tls| tls.certificate.is_some()), "{how:?}");
        }
    }

    #[tokio::test]
    async fn whoever_offers_no_tls_fails_with_its_own_words() {
        let refusing =
            &[("220 mail\r\n", "EHLO quorate\r\n"), ("250 mail\r\n", "STARTTLS\r\n"), ("502 no such command\r\n", "")];
        let detail = assert_fail(&against(refusing, StartTls::Smtp).await, Phase::Tls, Cause::Protocol);
        assert!(detail.contains("502 no such command"), "{detail}");
        let detail = assert_fail(&against(&[("* BYE\r\n", "")], StartTls::Imap).await, Phase::Tls, Cause::Protocol);
        assert!(detail.contains("* BYE"), "{detail}");
    }

    #[tokio::test]
    async fn postgres_says_yes_or_no_in_a_letter() {
        for (letter, fine) in [(b'S', true), (b'N', false), (b'E', false)] {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_u8(letter).await.unwrap();
            let ended = upgrade(&mut ours, StartTls::Postgres, Instant::now() + Duration::from_secs(5)).await;
            assert_eq!(ended.is_ok(), fine, "{letter}");
            let mut asked = [0; 8];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, SSL_REQUEST);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_server_says_is_bounded_and_harmless(said in proptest::collection::vec(0u8.., 0..300), how in 0usize..4) {
            let how = StartTls::ALL[how];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let ended = runtime.block_on(async {
                let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
                theirs.write_all(&said).await.unwrap();
                theirs.shutdown().await.unwrap();
                upgrade(&mut ours, how, Instant::now() + Duration::from_secs(5)).await
            });
            let plausible = [&b"220"[..], b"* OK", b"+OK", b"S"].iter().any(|begin| said.starts_with(begin));
            proptest::prop_assert!(ended.is_err() || plausible);
        }
    }
}
