//! Settings of every check that speaks TLS.

use super::super::reader::{Faults, Section};
use super::{choice, set, set_some};
use quorate_core::{TlsOptions, TlsVersion};

/// Their keys.
pub(super) const KEYS: [&str; 7] = [
    "verify_ssl",
    "server_name",
    "ca_file",
    "client_cert_file",
    "min_tls_version",
    "certificate_warning",
    "certificate_critical",
];

/// Reads them over the defaults in `tls`.
pub(super) fn read(section: &Section<'_>, tls: &mut TlsOptions, faults: &mut Faults) {
    set(&mut tls.verify, section.take("verify_ssl", faults));
    set_some(&mut tls.server_name, section.take("server_name", faults));
    set_some(&mut tls.ca_file, section.take("ca_file", faults));
    set_some(&mut tls.client_cert_file, section.take("client_cert_file", faults));
    set_some(&mut tls.expiry_warning, section.take("certificate_warning", faults));
    set_some(&mut tls.expiry_critical, section.take("certificate_critical", faults));
    set(&mut tls.min_version, choice(section, "min_tls_version", TlsVersion::ALL, TlsVersion::as_str, faults));
}

/// Reads them for a check that speaks TLS with `tls = true`, or when something else in it says so.
pub(super) fn optional(section: &Section<'_>, needed: bool, faults: &mut Faults) -> Option<TlsOptions> {
    let mut options = TlsOptions::default();
    read(section, &mut options, faults);
    let wanted = needed || section.take::<bool>("tls", faults).is_some_and(|found| found.value);
    for name in KEYS.iter().filter(|name| !wanted && section.has(name)) {
        faults.add(
            section.key_place(name),
            section.place(name).1,
            "does nothing without `tls = true`; add that, or take it out",
        );
    }
    wanted.then_some(options)
}
