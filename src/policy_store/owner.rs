//! An owner as Postgres keeps it: a tenant's id, or null for the operator.

use quell_policy::Owner;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{Decode, Postgres, Type};

/// A column `owner`, for queries: `owner as "owner!: PgOwner"`.
#[derive(Debug)]
pub(crate) struct PgOwner(Owner);

impl From<PgOwner> for Owner {
    fn from(PgOwner(owner): PgOwner) -> Self {
        owner
    }
}

impl Type<Postgres> for PgOwner {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for PgOwner {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let tenant = Option::<String>::decode(value)?;
        Ok(Self(Owner::try_from(tenant)?))
    }
}
