//! Bounds what one owner's policies read of texts for a track, in the transaction of a change.
//!
//! `policy_text_work` has all that an owner's policies read, and perhaps what they do not read any more. A change that
//! adds to it writes it; where it is too much, it is made anew of all policies first, and then decides.

use super::author::ChangeError;
use super::changing::Changing;
use quell_policy::{Owner, Policy, TextWork};

impl Changing<'_> {
    /// Refuses what was written if an owner's policies read too much of texts by now.
    pub(super) async fn bound_text_work(&mut self) -> Result<(), ChangeError> {
        for (owner, written) in std::mem::take(&mut self.text_work) {
            self.bound_text_work_of(&owner, written).await?;
        }
        Ok(())
    }

    async fn bound_text_work_of(
        &mut self,
        owner: &Owner,
        written: TextWork,
    ) -> Result<(), ChangeError> {
        let mut added = written;
        added.extend(self.look_at_unknown(owner).await?);
        let known = sqlx::query_scalar!(
            "select reads from policy_text_work where owner = $1",
            key(owner),
        )
        .fetch_optional(self.connection())
        .await?;
        let known = known.unwrap_or_default();
        let known = TextWork::from_stored(known.iter().map(String::as_str));
        if !added.has_more_than(&known) {
            return Ok(());
        }
        let mut work = known;
        work.extend(added);
        if work.refusal().is_some() {
            work = self.all_text_work(owner).await?;
        }
        if let Some(refusal) = work.refusal() {
            return Err(ChangeError::TooMuchTextWork(refusal));
        }
        sqlx::query!(
            "insert into policy_text_work (owner, reads) values ($1, $2)
             on conflict (owner) do update set reads = excluded.reads",
            key(owner),
            &work.to_stored().collect::<Vec<_>>(),
        )
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// What the owner's policies read now.
    async fn all_text_work(&mut self, owner: &Owner) -> Result<TextWork, sqlx::Error> {
        let reads = sqlx::query_scalar!(
            r#"select distinct unnest(text_reads) as "read!" from policy
               where coalesce(owner, '') = $1 and text_reads <> '{}'"#,
            key(owner),
        )
        .fetch_all(self.connection())
        .await?;
        Ok(TextWork::from_stored(reads.iter().map(String::as_str)))
    }

    /// What those of the owner's policies read that a version wrote which did not say. What this version cannot read is
    /// never in force here, and counts as nothing.
    async fn look_at_unknown(&mut self, owner: &Owner) -> Result<TextWork, sqlx::Error> {
        let unknown = sqlx::query!(
            "select id, document from policy
             where coalesce(owner, '') = $1 and text_reads_of is distinct from revision",
            key(owner),
        )
        .fetch_all(self.connection())
        .await?;
        let mut all = TextWork::default();
        for row in unknown {
            let policy = Policy::from_stored(&row.document, owner);
            let work = policy.map(|policy| policy.text_work()).unwrap_or_default();
            sqlx::query!(
                "update policy set text_reads = $2, text_reads_of = revision where id = $1",
                row.id,
                &work.to_stored().collect::<Vec<_>>(),
            )
            .execute(self.connection())
            .await?;
            all.extend(work);
        }
        Ok(all)
    }
}

fn key(owner: &Owner) -> &str {
    owner.as_str().unwrap_or_default()
}
