#!/usr/bin/env bash
# How long a claim takes while a million finished jobs cannot be removed, since an old transaction is open.
#
#   make bench-claims
#
# Claims are of src/inbox/claim.sql as it is: 200 that find nothing, 200 that find 200 jobs of 50 rooms (rolled back each
# time), and five that look at everything, as each process does once a minute.
set -euo pipefail

cd "$(dirname "$0")/../.."
# shellcheck source=scripts/versions.sh
source scripts/versions.sh
if [ "${QUELL_THROWAWAY:-}" != yes ]; then
    scripts/setup postgres sqlx
    QUELL_THROWAWAY=yes exec scripts/with-postgres --durable "$0" "$@"
fi
sql() { psql "$DATABASE_URL" -qAtX -v ON_ERROR_STOP=1 "$@"; }
"$tools_dir/bin/sqlx" migrate run >/dev/null

sql -c "begin isolation level repeatable read" -c "select count(*) from job" -c "select pg_sleep(600)" >/dev/null 2>&1 &
old=$!
trap 'kill $old 2>/dev/null || true' EXIT
until [ "$(sql -c "select count(*) from pg_stat_activity where query like 'select pg_sleep%'")" = 1 ]; do :; done

# A million that were each queued, claimed by one of two replicas, and ended.
sql <<'SQL'
insert into replica values ('gone', now() - interval '1 hour'), ('this', now() + interval '1 hour');
insert into job (event_created_at, event_id, received_at, state, deadline, room_sid, placed_at)
select now(), 'EV_' || n, now(), 'queued', now() + interval '2 minutes', 'RM_' || n % 500, now() - interval '10 minutes'
from generate_series(1, 1000000) n;
update job set state = 'leased', attempt = 1, leased_by = case when random() < 0.5 then 'gone' else 'this' end;
delete from job;
SQL

# The statement, without the marks that are for the Rust side.
claim=$(sed 's/ as "\([a-z_]*\)[!?]"/ as \1/' src/inbox/claim.sql)
# claims NAME COUNT BACK ALL: runs them and prints their times.
claims() {
    {
        echo "set jit = off;"
        echo "prepare claim as $claim;"
        echo '\o /dev/null'
        echo '\timing on'
        for _ in $(seq "$2"); do
            echo "begin; execute claim('this', '', '{}', 64, 16, 512, '{}', '{}', '$3', $4); rollback;"
        done
    } | psql "$DATABASE_URL" -qAtX | awk -v name="$1" '
        # Each claim is the longest of the three statements of its transaction.
        /^Time/ { t = $2; if (n++ % 3 == 0) longest = 0; if (t > longest) longest = t
                  if (n % 3 == 0) print longest }' | sort -n | awk -v name="$1" '
        { t[NR] = $1 }
        END { printf "%-42s p50 %8.1f ms   p99 %8.1f ms   max %8.1f ms   (%d)\n", name, t[int((NR + 1) / 2)], t[int(NR * 0.99 + 0.5)], t[NR], NR }'
}
claims "all is looked at (once a minute)" 5 '1 year' true
sql -c "update replica set is_cleared = true where id = 'gone'"
claims "nothing is queued" 200 '2 minutes' false
sql -c "insert into job (event_created_at, event_id, received_at, state, deadline, room_sid)
    select now(), 'EX_' || n, now(), 'queued', now() + interval '2 minutes', 'RM_' || n % 50 from generate_series(1, 200) n"
claims "200 jobs of 50 rooms are queued" 200 '2 minutes' false
