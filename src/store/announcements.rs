//! Wakes whoever follows a trust's feeds when a transaction of this process has appended to one of them.
//!
//! What other processes append is found by looking from time to time: an announcement saves waiting, and nothing depends on
//! it. It is no LISTEN of Postgres, which a pooler in transaction mode does not carry.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::domain::identifiers::TrustId;

/// Who waits for which trust.
#[derive(Clone, Debug, Default)]
pub struct Announcements(Arc<RwLock<HashMap<TrustId, watch::Sender<()>>>>);

impl Announcements {
    /// Waits for what is announced of a trust from now on. What is announced while nobody looks is not lost: the next look
    /// sees it at once.
    pub fn subscribe(&self, trust: TrustId) -> watch::Receiver<()> {
        let mut waiting = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Of those who have gone nothing is kept.
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting
            .entry(trust)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    /// Wakes everybody who waits for a trust.
    pub fn announce(&self, trust: TrustId) {
        let waiting = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.get(&trust) {
            sender.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust() -> TrustId {
        TrustId(uuid::Uuid::new_v4())
    }

    #[tokio::test]
    async fn who_waits_for_a_trust_is_woken_for_that_trust_alone() {
        let (announcements, ours, theirs) = (Announcements::default(), trust(), trust());
        let mut first = announcements.subscribe(ours);
        let mut second = announcements.subscribe(ours);
        announcements.announce(theirs);
        assert!(!first.has_changed().unwrap());
        announcements.announce(ours);
        assert!(first.has_changed().unwrap() && second.has_changed().unwrap());
        first.changed().await.unwrap();
        second.changed().await.unwrap();
        assert!(!first.has_changed().unwrap());
    }

    #[test]
    fn who_has_gone_leaves_nothing_behind() {
        let announcements = Announcements::default();
        for _ in 0..10 {
            drop(announcements.subscribe(trust()));
        }
        let kept = announcements.subscribe(trust());
        assert_eq!(announcements.0.read().unwrap().len(), 1);
        drop(kept);
    }
}
