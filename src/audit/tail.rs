//! The tail of the audit: outcomes in the order of commits.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::postgres::PgRow;
use sqlx::{FromRow as _, PgExecutor, QueryBuilder, Row as _};
use uuid::Uuid;

use super::history::{COLUMNS, HistoryFilter, HistoryRow};

/// As many rows of all are looked at for one batch, and at most as many bytes of documents, if there is more than one.
const TAIL_ROWS: i64 = 1_000;
const TAIL_BYTES_MAX: i64 = 1 << 20;

/// A place in the order of commits: the transaction and the number of a row. Every place that was handed out in this
/// database is at most the end of its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TailPosition {
    txid: u64,
    seq: i64,
}

/// Transactions and rows are numbered from 1 on: a thousand of them a second take 9,000 years.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// What writes places as text that tells nobody how much is written, and reads them again: all replicas have the same.
///
/// A place is one block of AES. Whoever makes one up comes to a place that nobody knows, and sees there what it may see.
#[derive(Debug)]
pub struct PlaceKey(Aes128);

impl PlaceKey {
    /// The database's.
    pub async fn load(db: impl PgExecutor<'_>) -> Result<Self, sqlx::Error> {
        let key: Vec<u8> = sqlx::query_scalar("select key from audit_stream_key")
            .fetch_one(db)
            .await?;
        let unusable = |_| sqlx::Error::Decode("the key of audit_stream_key is no AES key".into());
        Aes128::new_from_slice(&key).map(Self).map_err(unusable)
    }

    /// The place as text.
    #[must_use]
    pub fn write(&self, place: TailPosition) -> String {
        let (txid, seq) = (
            place.txid & NUMBER_MAX,
            place.seq.cast_unsigned() & NUMBER_MAX,
        );
        // So that nobody sees whether a place has moved.
        let nonce = rand::random::<u32>();
        let number = u128::from(txid) << 80 | u128::from(seq) << 32 | u128::from(nonce);
        let mut block = number.to_be_bytes().into();
        self.0.encrypt_block(&mut block);
        URL_SAFE_NO_PAD.encode(block)
    }

    /// The place that a text says, if it says one.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<TailPosition> {
        let block: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let mut block = block.into();
        self.0.decrypt_block(&mut block);
        let number = u128::from_be_bytes(block.into());
        Some(TailPosition {
            txid: u64::try_from(number >> 80).ok()?,
            seq: u64::try_from(number >> 32 & u128::from(NUMBER_MAX))
                .ok()?
                .cast_signed(),
        })
    }
}

/// What was committed behind a place.
#[derive(Debug)]
pub struct TailBatch {
    /// Outcomes, in the order of commits, each with its place.
    pub rows: Vec<(TailPosition, HistoryRow)>,
    /// Up to where was looked.
    pub position: TailPosition,
    /// Whether there may be more at once.
    pub is_full: bool,
}

/// Where the tail ends now: whatever is committed from now on comes behind it.
pub async fn tail_end(db: impl PgExecutor<'_>) -> Result<TailPosition, sqlx::Error> {
    let txid: String = sqlx::query_scalar("select pg_snapshot_xmin(pg_current_snapshot())::text")
        .fetch_one(db)
        .await?;
    Ok(TailPosition {
        txid: read_txid(&txid)?,
        seq: 0,
    })
}

/// The outcomes that were committed behind `position`. It stops below the oldest transaction that is open: nothing can
/// come in behind what was read.
pub async fn tail(
    db: impl PgExecutor<'_>,
    filter: &HistoryFilter,
    position: TailPosition,
) -> Result<TailBatch, sqlx::Error> {
    // As many rows are looked at whatever the filter is, so that one that finds little keeps nobody waiting.
    let mut query = QueryBuilder::new(
        "with counted as materialized (
             select *, recorded_at as settled_at, row_number() over commits as place,
                    sum(coalesce(octet_length(before::text), 0) + coalesce(octet_length(after::text), 0)) over commits as bytes
             from (
                 select * from audit_log
                 where (txid, seq) > (",
    );
    query.push_bind(position.txid.to_string()).push("::xid8, ");
    query.push_bind(position.seq);
    query.push(
        ") and txid < pg_snapshot_xmin(pg_current_snapshot())
                 order by txid, seq limit ",
    );
    query.push_bind(TAIL_ROWS);
    query.push(
        ") selected window commits as (order by txid, seq)),
         looked_at as (select * from counted where place = 1 or bytes <= ",
    );
    query.push_bind(TAIL_BYTES_MAX);
    query.push(
        "), newest as (
             select txid::text as newest_txid, seq as newest_seq,
                    (select count(*) from counted) = place and place < ",
    );
    query.push_bind(TAIL_ROWS);
    query.push(
        " as is_all
             from looked_at order by looked_at.txid desc, seq desc limit 1)
         select newest.*, found.* from newest left join (select ",
    );
    query
        .push(COLUMNS)
        .push(" from looked_at where phase = 'outcome'");
    filter.push_to(&mut query);
    query.push(") found on true order by found.txid::xid8, found.seq");
    let rows = query.build().fetch_all(db).await?;
    let Some(first) = rows.first() else {
        return Ok(TailBatch {
            rows: Vec::new(),
            position,
            is_full: false,
        });
    };
    let is_all: bool = first.try_get("is_all")?;
    let txid: String = first.try_get("newest_txid")?;
    let position = TailPosition {
        txid: read_txid(&txid)?,
        seq: first.try_get("newest_seq")?,
    };
    let found = rows.iter().filter(|row| {
        let id: Result<Option<Uuid>, _> = row.try_get("action_id");
        !matches!(id, Ok(None))
    });
    let rows: Result<_, _> = found.map(placed).collect();
    Ok(TailBatch {
        rows: rows?,
        position,
        is_full: !is_all,
    })
}

fn placed(row: &PgRow) -> Result<(TailPosition, HistoryRow), sqlx::Error> {
    let txid: String = row.try_get("txid")?;
    let position = TailPosition {
        txid: read_txid(&txid)?,
        seq: row.try_get("seq")?,
    };
    Ok((position, HistoryRow::from_row(row)?))
}

fn read_txid(text: &str) -> Result<u64, sqlx::Error> {
    text.parse()
        .map_err(|error: std::num::ParseIntError| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients hold places that an earlier quell wrote.
    #[test]
    fn a_place_is_a_block_of_aes_128() {
        let key: Vec<u8> = (0..16).collect();
        let key = PlaceKey(Aes128::new_from_slice(&key).unwrap());
        let place = TailPosition {
            txid: 0x1234,
            seq: 0x56,
        };
        // openssl enc -aes-128-ecb -nopad -K 000102030405060708090a0b0c0d0e0f, of 000000001234 000000000056 00000789
        assert_eq!(key.read("_KQnV0mtob5z7MRXU0zpfw"), Some(place));
        assert_eq!(key.read(&key.write(place)), Some(place));
        assert_ne!(key.write(place), key.write(place));
        assert_eq!(key.read("c2hvcnQ"), None);
    }
}
