//! How an agent comes by its identity: from its data directory, or by joining with a token.

use super::store::Store;
use crate::config::{Settings, host_name};
use crate::usage::usage;
use anyhow::{Context, bail};
use quorate_core::AgentId;
use quorate_transport::{Admission, Identity, IdentityError, JoinToken, join_noting};
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

/// The longest a join may take; the mesh answers within five seconds.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Of a token's file so much is read; a token has less.
const MAX_TOKEN_BYTES: u64 = 4096;
/// Most members taken from a bootstrap list.
const MAX_CONTACTS: usize = 32;

/// An identity, and whom to greet.
#[derive(Debug)]
pub struct Entry {
    /// Who this agent is.
    pub identity: Identity,
    /// Members to make contact with.
    pub contacts: Vec<(AgentId, SocketAddr)>,
    /// Has it just joined?
    pub fresh: bool,
}

/// Loads the identity, or joins.
///
/// # Errors
/// What is missing or does not fit, with what to do.
pub async fn enter(settings: &Settings, token: Option<&str>, store: &Store) -> anyhow::Result<Entry> {
    let token = token.map(str::parse::<JoinToken>).transpose().map_err(|error| usage(format!("--token: {error}")))?;
    let dir = settings.data_dir.display();
    match Identity::load(&settings.data_dir) {
        Ok(identity) => {
            same_mesh(settings, &identity, token.as_ref())?;
            returning(settings, store)?;
            Ok(Entry { identity, contacts: store.contacts(), fresh: false })
        }
        Err(IdentityError::Missing { .. }) => {
            match (&settings.join, token.map_or_else(|| token_in(settings), |known| Ok(Some(known)))?) {
                (Some(address), Some(token)) => enter_by_token(settings, address, &token, store).await,
                (Some(_), None) => Err(usage(
                    "joining needs a token: run `quorate token create` where the mesh was begun, and give it with --token or QUORATE_TOKEN",
                )),
                (None, Some(_)) => Err(usage("a token needs the address of any member: --join HOST:PORT")),
                (None, None) => Err(usage(format!(
                    "{dir} holds no identity.\n  To begin a mesh:  quorate init --data-dir {dir}\n  To join a mesh:   \
                 quorate agent --data-dir {dir} --join HOST:PORT --token TOKEN   (a token: `quorate token create`)"
                ))),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The token that admits this host, from its file. Read only when it is needed: once the host has joined, the file may be gone.
fn token_in(settings: &Settings) -> anyhow::Result<Option<JoinToken>> {
    let Some(path) = &settings.token_file else { return Ok(None) };
    let shown = path.display();
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text));
    read.map_err(|error| usage(format!("the token's file {shown}: {error}")))?;
    let token = text.trim().parse::<JoinToken>();
    token.map(Some).map_err(|error| usage(format!("the token's file {shown}: {error}")))
}

/// Who has left for good comes back only when told so.
fn returning(settings: &Settings, store: &Store) -> anyhow::Result<()> {
    let Some(left) = store.left() else { return Ok(()) };
    if settings.join.is_none() {
        return Err(usage(format!(
            "this agent left its mesh for good ({left}). To bring it back, name any member:  quorate agent --data-dir {} --join HOST:PORT",
            settings.data_dir.display()
        )));
    }
    tracing::info!(left, "this agent had left its mesh; it returns");
    store.forget_left().context("the note that this agent has left cannot be taken away")
}

fn same_mesh(settings: &Settings, identity: &Identity, token: Option<&JoinToken>) -> anyhow::Result<()> {
    let (agent, mesh) = (AgentId(identity.agent_id()), identity.mesh_id());
    match token {
        Some(token) if token.mesh_id() != mesh => bail!(
            "{} belongs to agent {agent} of mesh {mesh}, but the token admits to mesh {}: use another --data-dir, or leave out --join \
             and --token",
            settings.data_dir.display(),
            token.mesh_id(),
        ),
        Some(_) => tracing::info!(%agent, %mesh, "already a member of the token's mesh: starting without a join"),
        None => {}
    }
    Ok(())
}

/// Said before the token is spent: an agent that listens on IPv4 cannot reach a member that has IPv6 alone.
async fn same_family(settings: &Settings, address: &str) -> anyhow::Result<()> {
    let listen = settings.listen;
    // A name without an address is the join's to tell.
    let found: Vec<_> = tokio::net::lookup_host(address).await.map(Iterator::collect).unwrap_or_default();
    if listen.is_ipv4() && !found.is_empty() && found.iter().all(SocketAddr::is_ipv6) {
        return Err(usage(format!(
            "{address} is reached over IPv6 alone, and this agent listens on {listen}: add --listen '[::]:{}'",
            listen.port()
        )));
    }
    Ok(())
}

async fn enter_by_token(settings: &Settings, address: &str, token: &JoinToken, store: &Store) -> anyhow::Result<Entry> {
    same_family(settings, address).await?;
    let name = settings.name.clone().unwrap_or_else(host_name);
    // Noted before there is an identity: an agent that has one and knows nobody would be alone for good.
    let note = |admission: &Admission<'_>| store.write_contacts(&contacts(admission));
    let outcome = join_noting(address, token, &name, &settings.data_dir, JOIN_TIMEOUT, note).await?;
    let (agent, mesh) = (AgentId(outcome.identity.agent_id()), outcome.identity.mesh_id());
    tracing::info!(%agent, %mesh, via = %AgentId(outcome.via.0), %address, "joined the mesh");
    Ok(Entry { identity: outcome.identity, contacts: store.contacts(), fresh: true })
}

/// Whom to greet: the member that answered, then those it named.
fn contacts(admission: &Admission<'_>) -> Vec<(AgentId, SocketAddr)> {
    let mut contacts = vec![(AgentId(admission.via.0), admission.via.1)];
    let listed: Vec<(AgentId, SocketAddr)> = serde_json::from_slice(admission.bootstrap).unwrap_or_default();
    for (member, address) in listed.into_iter().take(MAX_CONTACTS) {
        if member.0 != admission.agent && !contacts.iter().any(|(known, _)| *known == member) {
            contacts.push((member, address));
        }
    }
    contacts
}
