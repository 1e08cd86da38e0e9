//! What of an observer's own host a check makes use of beside the network: programs, sockets, containers, files and secrets.

use super::{CheckKind, HttpCheck, TlsOptions, Value};

impl CheckKind {
    /// What of the hosts that make it this check makes use of, in words; `None` when it needs nothing but the network.
    ///
    /// Whoever may register any such check can have an agent open, read or send what belongs to its host.
    #[must_use]
    pub fn host_use(&self) -> Option<&'static str> {
        match self {
            Self::Exec(_) => Some("runs a program of the host"),
            Self::Unix(_) => Some("opens a socket of the host"),
            Self::Container(_) => Some("asks the container engine of the host"),
            Self::Systemd(_) => Some("asks the service manager of the host"),
            Self::Push(_) => Some(SECRET),
            Self::Http(http) => of_http(http),
            Self::Metric(metric) => of_http(&metric.http),
            Self::Tls(check) => of_tls(&check.tls),
            Self::Redis(redis) => redis.password.as_ref().map(|_| SECRET).or_else(|| of_some_tls(redis.tls.as_ref())),
            Self::Dialogue(dialogue) => of_some_tls(dialogue.tls.as_ref()),
            Self::Postgres(postgres) => of_some_tls(postgres.tls.as_ref()),
            Self::Grpc(grpc) => of_values(&grpc.metadata).or_else(|| of_some_tls(grpc.tls.as_ref())),
            Self::Tcp(_) | Self::Udp(_) | Self::Dns(_) | Self::Icmp(_) => None,
        }
    }
}

const SECRET: &str = "uses a secret of the host";
const FILE: &str = "reads a file of the host";

fn of_http(http: &HttpCheck) -> Option<&'static str> {
    of_values(&http.headers).or_else(|| of_tls(&http.tls))
}

fn of_values(values: &[(String, Value)]) -> Option<&'static str> {
    values.iter().any(|(_, value)| !matches!(value, Value::Plain(_))).then_some(SECRET)
}

fn of_some_tls(tls: Option<&TlsOptions>) -> Option<&'static str> {
    tls.and_then(of_tls)
}

fn of_tls(tls: &TlsOptions) -> Option<&'static str> {
    (tls.ca_file.is_some() || tls.client_cert_file.is_some()).then_some(FILE)
}
