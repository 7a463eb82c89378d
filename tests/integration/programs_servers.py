#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Servers: redis, and PostgreSQL as its own user with its own runtime directory. Prints TAP."""
import glob
import os
import pwd
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import ROOT, Ground, Skip, main, need, test  # noqa: E402

# ---- redis -------------------------------------------------------------------------------------------------------

# The benchmark's figures are its own affair: only that it ends well is compared. No crash log: writing it needs
# memory, and without any redis writes it within itself until its stack ends, 100 MB of it.
REDIS = r"""
set -u
dir=$(mktemp -d)
redis-server --port 0 --unixsocket "$dir/s" --save '' --appendonly no --dir "$dir" --loglevel warning \
	--crash-log-enabled no >"$dir/log" 2>&1 &
server=$!
tries=0
until [ "$(redis-cli -s "$dir/s" ping 2>&1)" = PONG ]; do
	tries=$((tries + 1))
	[ $tries -lt 500 ] || { cat "$dir/log" >&2; exit 9; }
	sleep 0.02
done
redis-benchmark -s "$dir/s" -t set,get,lpush,hset -n 4000 -c 8 -P 4 -d 200 -r 1000 -q >/dev/null || exit 8
redis-cli -s "$dir/s" flushall
redis-cli -s "$dir/s" eval "for i = 1, $1 do redis.call('set', 'k' .. i, string.rep('v', 1000)) end return 'done'" 0
redis-cli -s "$dir/s" dbsize
redis-cli -s "$dir/s" object encoding k1
redis-cli -s "$dir/s" shutdown nosave
wait $server
status=$?
grep -a -m 1 'Out Of Memory' "$dir/log" >&2
echo "server $status"
exit $status
"""


@test("redis-server with redis-benchmark; against a limit it says Out Of Memory")
def _(g):
    need("redis-server", "redis-benchmark", "redis-cli")
    script = g.write("redis.sh", REDIS)
    ran = g.same(["sh", script, "5000"])
    assert ran.out == "OK\ndone\n5000\nraw\nserver 0\n", ran
    g.refused("48M", ["sh", script, "200000"], "Out Of Memory allocating", "redis-.*", status=[134])


# ---- PostgreSQL -------------------------------------------------------------------------------------------------------

# pg_ctl waits for the server by itself; the statements are told from their notices by -q and on stdout alone.
POSTGRES = r"""
set -u
start() { pg_ctl -s -w -D "$1" -l "$1/log" -o "-k $1 -c listen_addresses='' -c fsync=off \
	-c shared_buffers=48MB -c max_parallel_workers_per_gather=2 -c min_parallel_table_scan_size=0 \
	-c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c jit=off" start || { cat "$1/log" >&2; exit 9; }; }
start "$1"
psql -X -q -A -t -h "$1" -d postgres -f "$2"
status=$?
pg_ctl -s -w -D "$1" -m fast stop || exit 8
exit $status
"""

SQL = r"""
drop table if exists t;
create table t as select n, md5(n::text) as text from generate_series(1, 30000) n;
create index on t(text);
analyze t;
select count(*), sum(n), min(text) from t;
select count(*) from t a join t b on a.text = b.text and a.n % 3 = 0;
select left(string_agg(text, '' order by text), 20) from t;
begin; declare c cursor for select n from t order by n desc; fetch 2 from c; commit;
"""

TOO_MUCH = r"""
select 'before';
select length(repeat('x', 600 * 1024 * 1024));
select 'the session goes on', count(*) from generate_series(1, 1000);
"""


class PostgresGround(Ground):
    """PostgreSQL refuses to run as root."""

    def __init__(self):
        try:
            pwd.getpwnam("postgres")
            user = "postgres" if ROOT else None
        except KeyError:
            user = None
        super().__init__(user)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if found:
            self.env["PATH"] = found[-1] + ":" + self.env["PATH"]
            self.env["PGOPTIONS"] = self.env["PGHOST"] = ""


@test("PostgreSQL as its own user; against a limit ERROR: out of memory, and the session goes on")
def _(unused):
    g = PostgresGround()
    try:
        if not glob.glob("/usr/lib/postgresql/*/bin/postgres"):
            raise Skip("PostgreSQL's server is missing")
        if ROOT and not g.user:
            raise Skip("the user postgres is missing")
        run_postgres(g)
    finally:
        g.close()


def run_postgres(g):
    data = g.path("data")
    made = g.spawn(["initdb", "-D", data, "-A", "trust", "-N", "--no-locale", "-E", "UTF8"])
    assert made.status == 0, made
    script, sql, much = g.write("pg.sh", POSTGRES), g.write("do.sql", SQL), g.write("much.sql", TOO_MUCH)
    ran = g.same(["sh", script, data, sql])
    assert ran.out.startswith("30000|450015000|") and "\n10000\n" in ran.out, ran
    ran = g.refused("256M", ["sh", script, data, much], "ERROR:  out of memory", "postgres", status=[0])
    assert ran.out == "before\nthe session goes on|1000\n", ran


if __name__ == "__main__":
    sys.exit(main())
