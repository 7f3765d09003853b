//! API secrets: a token that is one of them is its caller.

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::caller::Id;
use crate::config::ApiSecret;

/// The secrets, as digests. Those are of one length, so the time of a comparison tells nothing of a secret's.
pub(super) struct Secrets(Vec<SecretEntry>);

struct SecretEntry {
    digest: [u8; 32],
    /// None where the id is blank: using such a secret is refused.
    id: Option<Id>,
}

/// What a token is among the API secrets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SecretMatch<'a> {
    /// None of them.
    NoSecret,
    /// One whose id is blank.
    WithoutId,
    /// This caller's.
    Caller(&'a Id),
}

impl Secrets {
    /// None where two callers share a secret: whose a token is would be a guess.
    pub(super) fn new(secrets: &[ApiSecret]) -> Option<Self> {
        let mut entries: Vec<SecretEntry> = Vec::with_capacity(secrets.len());
        for ApiSecret { id, secret } in secrets {
            let digest = Sha256::digest(secret.expose_secret()).into();
            let id = Id::new(id).ok();
            match entries.iter().find(|entry| entry.digest == digest) {
                None => entries.push(SecretEntry { digest, id }),
                Some(same) if same.id == id => {}
                Some(_) => return None,
            }
        }
        Some(Self(entries))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many secrets have a blank id, and are never accepted.
    pub(super) fn without_id(&self) -> usize {
        self.0.iter().filter(|entry| entry.id.is_none()).count()
    }

    /// Whose secret `token` is. Every entry is compared in full, whether one matched or not.
    pub(super) fn find(&self, token: &str) -> SecretMatch<'_> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut any = Choice::from(0);
        let mut at = 0_u32;
        for (index, entry) in (0_u32..).zip(&self.0) {
            let equal = entry.digest.ct_eq(&digest);
            at.conditional_assign(&index, equal);
            any |= equal;
        }
        let entry = usize::try_from(at).ok().and_then(|at| self.0.get(at));
        match entry {
            Some(entry) if bool::from(any) => match &entry.id {
                Some(id) => SecretMatch::Caller(id),
                None => SecretMatch::WithoutId,
            },
            Some(_) | None => SecretMatch::NoSecret,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(entries: &[(&str, &str)]) -> Option<Secrets> {
        let entries: Vec<ApiSecret> = entries
            .iter()
            .map(|(id, secret)| ApiSecret {
                id: (*id).to_owned(),
                secret: (*secret).into(),
            })
            .collect();
        Secrets::new(&entries)
    }

    #[test]
    fn a_secret_is_its_caller_and_nothing_else_is() {
        let secrets = secrets(&[("a", "first"), ("b", "second"), ("  ", "third")]).unwrap();
        let found = |token| match secrets.find(token) {
            SecretMatch::NoSecret => "nothing".to_owned(),
            SecretMatch::WithoutId => "without id".to_owned(),
            SecretMatch::Caller(id) => format!("{id:?}"),
        };
        for (token, expect) in [
            ("first", r#"Id("a")"#),
            ("second", r#"Id("b")"#),
            ("third", "without id"),
            ("", "nothing"),
            ("firs", "nothing"),
            ("firstx", "nothing"),
            ("First", "nothing"),
            ("a", "nothing"),
        ] {
            assert_eq!(found(token), expect, "{token:?}");
        }
        assert_eq!(secrets.without_id(), 1);
    }

    #[test]
    fn two_callers_cannot_share_a_secret() {
        assert!(secrets(&[("a", "same"), ("b", "same")]).is_none());
        assert!(secrets(&[("a", "same"), ("", "same")]).is_none());
        assert_eq!(secrets(&[("a", "same"), ("a", "same")]).unwrap().len(), 1);
    }

    #[test]
    fn without_secrets_nothing_is_one() {
        assert_eq!(secrets(&[]).unwrap().find(""), SecretMatch::NoSecret);
    }
}
