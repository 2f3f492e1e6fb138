//! Signed tokens: verified once, and remembered until they end.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use protocol::{CloseCode, UnixMillis};

use super::provider::{Good, Opinion, Presented, Provider};
use crate::collections::hash::ByIdentity;
use crate::collections::{HashKey, Identity};
use crate::counters::Counters;
use crate::tokens::{Claims, Flaw, Verifier};

/// Verifies tokens by their signatures.
#[derive(Debug)]
pub struct Signed {
    verifier: Arc<Verifier>,
    hash: HashKey,
    /// By the keyed hash of the token.
    good: HashMap<Identity, Arc<Claims>, ByIdentity>,
    /// The same, oldest first; as many as may be remembered.
    order: VecDeque<Identity>,
    most: usize,
}

impl Signed {
    /// Remembers as many as `most`. `hash` is the key of hashes that attackers must not predict.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, most: usize, hash: HashKey) -> Self {
        Self { verifier, hash, good: HashMap::default(), order: VecDeque::new(), most }
    }

    fn remember(&mut self, token: Identity, claims: &Arc<Claims>) {
        if self.most == 0 {
            return;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.good.remove(&oldest);
        }
        if self.good.insert(token, Arc::clone(claims)).is_none() {
            self.order.push_back(token);
        }
    }

    fn judged(
        &mut self,
        presented: Presented<'_>,
        may_work: bool,
        counters: &Counters,
    ) -> Result<Answer, Flaw> {
        let name = self.hash.identity(presented.token);
        if let Some(claims) = self.good.get(&name) {
            let is_good = presented.now < claims.expires;
            return if is_good { Ok(Answer::Known(Arc::clone(claims))) } else { Err(Flaw::Expired) };
        }
        if !may_work {
            return self.verifier.cost(presented.token).map(Answer::Work);
        }
        counters.tokens_verified.add(1);
        let claims = Arc::new(self.verifier.verify(presented.token, presented.now)?);
        self.remember(name, &claims);
        Ok(Answer::Known(claims))
    }
}

enum Answer {
    Known(Arc<Claims>),
    Work(std::time::Duration),
}

impl Provider for Signed {
    fn judge<'a>(&mut self, presented: Presented<'a>, may_work: bool, counters: &Counters) -> Opinion<'a> {
        match self.judged(presented, may_work, counters) {
            Ok(Answer::Known(claims)) => Opinion::Good(good(&claims, presented)),
            Ok(Answer::Work(cost)) => Opinion::Work(cost),
            Err(flaw) => {
                counters.token_flaws.of(flaw).add(1);
                let is_over = flaw == Flaw::Expired;
                Opinion::Bad(if is_over { CloseCode::TokenExpired } else { CloseCode::AuthFailed })
            }
        }
    }

    /// What the former keys have verified is forgotten: one of them may have been taken off for a reason.
    fn replace(&mut self, verifier: Arc<Verifier>) {
        self.verifier = verifier;
        self.good.clear();
        self.order.clear();
    }

    fn remembered(&self) -> usize {
        self.good.len()
    }
}

/// A login is named by its token's id, so that a token that follows another one is the same login; a token without one is a
/// login of its own. One that does not say when it was issued counts as one of long ago, whatever is revoked.
fn good<'a>(claims: &Claims, presented: Presented<'a>) -> Good<'a> {
    let login = claims.id.as_ref().map(|id| Cow::Owned(id.clone().into_bytes()));
    Good {
        user: Cow::Owned(claims.user.clone()),
        login: login.unwrap_or(Cow::Borrowed(presented.token)),
        issued: claims.issued.unwrap_or(UnixMillis(0)).min(presented.now),
        expiry: Some(claims.expires),
        binding: claims.binding,
        class: claims.class,
        limit_class: Cow::Owned(claims.limit_class.clone()),
    }
}
