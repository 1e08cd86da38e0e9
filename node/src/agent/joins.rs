//! Admitting hosts: the member that is asked sees to it that the mesh has its quorum, then signs, or finds a member that can.

use super::clock::wall;
use super::drive::{Ask, RollCall};
use super::published::Published;
use quorate_core::AgentId;
use quorate_mesh::{MemberState, MeshView};
use quorate_transport::{Grant, Identity, JoinRefusal, JoinRequest, TokenStore, Transport};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a roll call may take.
const ROLL_CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the search for a member that can sign may take. With the roll call it stays within what the transport allows a join.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(2500);
/// Members asked to sign at most, and at once.
const MAX_ASKED: usize = 128;
const ASKED_AT_ONCE: usize = 8;
/// Members a new agent is told of.
const BOOTSTRAP: usize = 32;

type Reply = oneshot::Sender<Result<Grant, JoinRefusal>>;

/// Answers joins. Cheap to clone.
#[derive(Clone)]
pub struct Joins {
    /// Who this agent is.
    pub identity: Identity,
    /// Where others dial it.
    pub address: SocketAddr,
    /// Where its tokens are.
    pub data_dir: PathBuf,
    /// Carries requests to other members.
    pub transport: Transport,
    /// Says who the members are.
    pub published: Arc<Published>,
    /// Calls the roll.
    pub asks: mpsc::Sender<Ask>,
    /// The member that signed last; zero: none known.
    pub signer: Arc<AtomicU64>,
}

impl Joins {
    /// A host asked this agent.
    pub fn sponsor(&self, request: JoinRequest, reply: Reply) {
        let this = self.clone();
        tokio::spawn(async move {
            let (name, remote, token) = (request.name.clone(), request.remote.clone(), request.token_id.clone());
            let result = this.admit(request).await;
            match &result {
                Ok(_) => tracing::info!(name, remote, token, "a host was admitted to the mesh"),
                Err(refusal) => {
                    tracing::warn!(name, remote, token, reason = refusal.reason(), %refusal, "a host was refused");
                }
            }
            let _ = reply.send(result);
        });
    }

    /// A member that cannot sign handed on a request.
    pub fn decide_for(&self, from: AgentId, request: JoinRequest, reply: Reply) {
        let this = self.clone();
        tokio::spawn(async move {
            let (name, remote) = (request.name.clone(), request.remote.clone());
            let result = this.sign(request).await;
            match &result {
                Ok(_) => tracing::info!(name, remote, sponsor = %from, "a host was admitted to the mesh"),
                Err(JoinRefusal::NoIssuer(_)) => {
                    tracing::debug!(sponsor = %from, "asked to sign, which this agent cannot")
                }
                Err(refusal) => {
                    tracing::warn!(name, remote, sponsor = %from, reason = refusal.reason(), "a host was refused");
                }
            }
            let _ = reply.send(result);
        });
    }

    async fn admit(&self, request: JoinRequest) -> Result<Grant, JoinRefusal> {
        self.quorum().await?;
        let mut grant = match self.sign(request.clone()).await {
            Err(JoinRefusal::NoIssuer(_)) => self.search(request).await,
            // Tokens are known where they were made: another issuer may know this one.
            Err(JoinRefusal::UnknownToken) => match self.search(request).await {
                Err(JoinRefusal::NoIssuer(_)) => Err(JoinRefusal::UnknownToken),
                result => result,
            },
            result => result,
        }?;
        let members = bootstrap(&self.published.view(), AgentId(self.identity.agent_id()), self.address);
        grant.bootstrap = serde_json::to_vec(&members).map_err(|_| JoinRefusal::Internal)?;
        Ok(grant)
    }

    /// Is more than half of the roster reached now?
    async fn quorum(&self) -> Result<(), JoinRefusal> {
        let (reply, answer) = oneshot::channel();
        let none = |why: &str| JoinRefusal::NoQuorum(why.to_owned());
        self.asks.send(Ask::RollCall(reply)).await.map_err(|_| none("the agent is stopping"))?;
        match timeout(ROLL_CALL_TIMEOUT, answer).await {
            Ok(Ok(RollCall { quorate: true, .. })) => Ok(()),
            Ok(Ok(RollCall { reached, roster, .. })) => {
                Err(none(&format!("{reached} of {roster} agents answer, more than half must")))
            }
            Ok(Err(_)) | Err(_) => Err(none("the roll call was not answered in time")),
        }
    }

    /// Signs here, if this agent can.
    async fn sign(&self, request: JoinRequest) -> Result<Grant, JoinRefusal> {
        let this = self.clone();
        let signing = tokio::task::spawn_blocking(move || {
            let issuer =
                this.identity.issuer().ok_or_else(|| JoinRefusal::NoIssuer("this agent cannot sign".to_owned()))?;
            let store = TokenStore::open(&this.data_dir).map_err(|error| {
                tracing::error!(%error, "the tokens cannot be read");
                JoinRefusal::Internal
            })?;
            issuer.grant(&request, &store, wall().0)
        });
        signing.await.unwrap_or(Err(JoinRefusal::Internal))
    }

    /// Asks the members, the one that signed last first, then those alive, a few at once.
    async fn search(&self, request: JoinRequest) -> Result<Grant, JoinRefusal> {
        let members = candidates(&self.published.view(), AgentId(self.signer.load(Ordering::Relaxed)));
        let asked = members.len();
        let search = async {
            let mut refusal = None;
            for some in members.chunks(ASKED_AT_ONCE) {
                let mut asking = JoinSet::new();
                for member in some.iter().copied() {
                    let (transport, request) = (self.transport.clone(), request.clone());
                    asking.spawn(async move { (member, transport.request_join_forward(member.0, request).await) });
                }
                while let Some(answer) = asking.join_next().await {
                    match answer {
                        Ok((member, Ok(grant))) => {
                            self.signer.store(member.0, Ordering::Relaxed);
                            return Ok(grant);
                        }
                        Ok((_, Err(JoinRefusal::NoIssuer(_)))) | Err(_) => {}
                        // Another issuer may know the token; what is wrong with a known one is final.
                        Ok((_, Err(other @ JoinRefusal::UnknownToken))) => refusal = Some(other),
                        Ok((_, Err(other))) => return Err(other),
                    }
                }
            }
            Err(refusal.unwrap_or_else(|| JoinRefusal::NoIssuer(format!("{asked} other members were asked"))))
        };
        let late = || JoinRefusal::NoIssuer(format!("none of {asked} other members answered in time"));
        timeout(SEARCH_TIMEOUT, search).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Whom to ask for a signature, in this order; never ourselves, nor those who left.
fn candidates(view: &MeshView, signer: AgentId) -> Vec<AgentId> {
    let mut members: Vec<_> =
        view.members.values().filter(|m| m.agent != view.agent && m.state != MemberState::Left).collect();
    members.sort_by_key(|member| (member.agent != signer, member.state, member.agent));
    members.into_iter().take(MAX_ASKED).map(|member| member.agent).collect()
}

/// Members for a new agent to greet: the sponsor, then others that are alive.
fn bootstrap(view: &MeshView, sponsor: AgentId, address: SocketAddr) -> Vec<(AgentId, SocketAddr)> {
    let others = view.members.values().filter(|m| m.agent != sponsor && m.state == MemberState::Alive);
    let others = others.filter_map(|member| Some((member.agent, member.address.parse().ok()?)));
    std::iter::once((sponsor, address)).chain(others).take(BOOTSTRAP).collect()
}
