//! Keys whose answers are noted, and keys that give the noted answers again.

use super::format::Answer;
use crate::api::Keys;
use quorate_core::AgentId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The answers of one turn; none when nobody wants them any more.
pub(super) type Noted = Arc<Mutex<Option<Vec<Answer>>>>;

/// Notes what other keys answer.
pub(super) struct NotingKeys {
    pub keys: Box<dyn Keys>,
    pub noted: Noted,
}

impl NotingKeys {
    fn note(&self, answer: impl FnOnce() -> Answer) {
        if let Some(noted) = &mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner) {
            noted.push(answer());
        }
    }
}

impl Keys for NotingKeys {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature = self.keys.sign(bytes);
        self.note(|| Answer::Signed(signature.clone()));
        signature
    }

    fn admit(&self, credential: &[u8]) -> Option<AgentId> {
        let admitted = self.keys.admit(credential);
        self.note(|| Answer::Admitted(admitted));
        admitted
    }

    fn verify(&self, credential: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
        let holds = self.keys.verify(credential, bytes, signature);
        self.note(|| Answer::Verified(holds));
        holds
    }
}

/// The answers still to be given in this turn, and whether anything else was asked.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub answers: VecDeque<Answer>,
    pub surprise: Option<&'static str>,
}

/// Gives noted answers again, in their order.
pub(super) struct GivingKeys(pub Arc<Mutex<Given>>);

impl GivingKeys {
    fn next(&self, asked: &'static str) -> Option<Answer> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = given.answers.pop_front();
        let fits = matches!(
            (asked, &answer),
            ("sign", Some(Answer::Signed(_)))
                | ("admit", Some(Answer::Admitted(_)))
                | ("verify", Some(Answer::Verified(_)))
        );
        if !fits {
            given.surprise.get_or_insert(asked);
        }
        answer
    }
}

impl Keys for GivingKeys {
    fn sign(&self, _bytes: &[u8]) -> Vec<u8> {
        match self.next("sign") {
            Some(Answer::Signed(signature)) => signature,
            _ => Vec::new(),
        }
    }

    fn admit(&self, _credential: &[u8]) -> Option<AgentId> {
        match self.next("admit") {
            Some(Answer::Admitted(admitted)) => admitted,
            _ => None,
        }
    }

    fn verify(&self, _credential: &[u8], _bytes: &[u8], _signature: &[u8]) -> bool {
        matches!(self.next("verify"), Some(Answer::Verified(true)))
    }
}
