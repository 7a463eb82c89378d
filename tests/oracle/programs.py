# SPDX-License-Identifier: MIT
"""The programs of tests/oracle: real ones, which stay a while where they print '@ STEP', and the modes of small.c."""
import glob
import os
import pwd
import shutil
import subprocess

from real_programs import ROOT, Skip, need

PYTHON = "/usr/bin/python3"
SMALL = os.path.join(os.environ.get("MEMCTL_BUILD", "."), "tests/oracle/small")
MODES = ("threads arenas deep calloc half little brk mremap advice reserve sparse huge private-file memfd unmapped "
         "shm-open sysv shared-anon fork-cow orphan prefork").split()

catalogue = []


class Program:
    """prepare(job) makes what it needs, outside of the cgroup, and returns what to run there. todo: why the numbers are
    known to differ."""

    def __init__(self, name, prepare, user=None, todo=None):
        self.name, self.prepare, self.user, self.todo = name, prepare, user, todo


class Job:
    """A directory and an environment for one run of a program."""

    def __init__(self, ground, name):
        self.ground, self.env = ground, {}
        self.as_root = ROOT and not ground.user
        self.dir = ground.path(name)
        os.mkdir(self.dir)
        self.env["TMPDIR"] = self.dir
        if ground.user:
            os.chown(self.dir, pwd.getpwnam(ground.user).pw_uid, -1)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def do(self, *argv):
        """Prepares something, as the user who will run the program."""
        options = self.ground.options(self.env, None)
        options["cwd"] = self.dir
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options)

    def shell(self, text):
        return ["bash", self.write("script", "at() { echo \"@ $*\"; sleep 2.5; }\n" + text)]


def program(name, *needs, user=None, todo=None):
    def add(prepare):
        def checked(job):
            need(*needs)
            return prepare(job)
        catalogue.append(Program(name, checked, user, todo))
        return prepare
    return add


# ---- interpreters and virtual machines ---------------------------------------------------------------------------

LISTS = """
import time
def at(step):
    print("@ " + step, flush=True)
    time.sleep(2.5)
small = [(i, str(i)) for i in range(700000)]
at("700,000 tuples")
del small[::2]
at("every second deleted")
blocks = [bytearray(b"x") * (1 << 20) for i in range(64)]
at("64 blocks of 1 MiB")
text = "y" * (48 << 20)
at("a string of 48 MiB")
del blocks[::2]
at("a half of the blocks deleted")
del small, blocks, text
at("all deleted")
"""


@program("python-lists", PYTHON)
def _(job):
    return [PYTHON, "-c", LISTS]


FORKS = """
import multiprocessing, os, time
def at(step):
    print("@ " + step, flush=True)
    time.sleep(2.5)
def part(k):
    total = sum(len(row[1]) for row in rows[k::4])  # every look writes a count of references
    time.sleep(4)
    return total + len(bytearray(8 << 20))
rows = [(i, str(i)) for i in range(600000)]
at("600,000 rows")
with multiprocessing.get_context("fork").Pool(4) as pool:
    at("4 children")
    pending = pool.map_async(part, range(4))
    at("each has read its quarter")
    pending.get()
    at("done")
at("children ended")
"""


@program("python-fork", PYTHON)
def _(job):
    return [PYTHON, "-c", FORKS]


NODE = """
const at = (step) => { console.log('@ ' + step); return new Promise((go) => setTimeout(go, 3000)); };
(async () => {
	await at('start');
	let heap = new Map();
	for (let i = 0; i < 500000; i++) heap.set(i, { name: 'v' + i, at: i });
	await at('500,000 objects');
	let buffers = [];
	for (let i = 0; i < 80; i++) buffers.push(Buffer.alloc(1 << 20, i));
	await at('80 buffers of 1 MiB');
	buffers = buffers.filter((b, i) => i % 2);
	heap = null;
	global.gc();
	await at('collected');
	buffers = null;
	global.gc();
	await at('all collected');
})();
"""


@program("node", "node")
def _(job):
    return ["node", "--expose-gc", job.write("run.js", NODE)]


JAVA = """
import java.util.*;
public class Run {
	static void at(String step) throws Exception { System.out.println("@ " + step); Thread.sleep(2500); }
	public static void main(String[] unused) throws Exception {
		at("start");
		List<byte[]> held = new ArrayList<>();
		for (int i = 0; i < 120; i++) held.add(new byte[1 << 20]);
		at("120 MiB");
		Map<Integer, String> map = new HashMap<>();
		for (int i = 0; i < 500000; i++) map.put(i, "v" + i);
		at("500,000 strings");
		Thread[] threads = new Thread[20];
		for (int i = 0; i < 20; i++) {
			threads[i] = new Thread(() -> { try { Thread.sleep(3000); } catch (InterruptedException e) { } });
			threads[i].start();
		}
		at("20 threads");
		for (Thread t : threads) t.join();
		held = null;
		map = null;
		System.gc();
		at("collected");
	}
}
"""


@program("java", "java", "javac")
def _(job):
    job.write("Run.java", JAVA)
    job.do("javac", "Run.java")
    return ["java", "-Xmx512m", "-XX:-UsePerfData", "-cp", job.dir, "Run"]


PERL = r"""
$| = 1;
sub at { print "@ $_[0]\n"; select undef, undef, undef, 2.5 }
my %h; $h{$_} = "v$_" for 1 .. 400000; at("400,000 keys");
my @a = map { "x" x 100000 } 1 .. 500; at("500 strings of 100 kB");
delete $h{$_ * 2} for 1 .. 200000; at("a half of the keys deleted");
@a = (); at("the strings gone");
"""


@program("perl", "perl")
def _(job):
    return ["perl", job.write("run.pl", PERL)]


RUBY = """
STDOUT.sync = true
def at(step) puts "@ " + step; sleep 2.5 end
a = (1..600000).map { |i| "v" + i.to_s }; at "600,000 strings"
b = (1..60).map { "x" * (1 << 20) }; at "60 of 1 MiB"
pid = fork { a.each_slice(2) { |s| s[0] << "y" }; at "a child has changed a half"; exit! }
Process.wait pid
a = b = nil; GC.start; GC.compact if GC.respond_to?(:compact); at "collected"
"""


@program("ruby", "ruby")
def _(job):
    return ["ruby", job.write("run.rb", RUBY)]


# ---- compilers, compressors and the like -------------------------------------------------------------------------

def functions(n):
    one = """int f%d(int *a, int n) { int s = %d; for (int i = 0; i < n; i++) {
	if (a[i] > %d) s += a[i] * %d; else s ^= a[(i * %d) %% n];
	switch (s & 7) { case 0: s += 3; break; case 1: s <<= 1; break; case 5: s -= a[0]; break; default: s ^= i; } }
	return s; }\n"""
    return "".join(one % (i, i, i, i + 1, i + 3) for i in range(n))


@program("gcc", "gcc")
def _(job):
    job.write("big.c", functions(2000))
    return ["gcc", "-O2", "-c", job.path("big.c"), "-o", job.path("big.o")]


CPLUSPLUS = """
#include <algorithm>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <variant>
#include <vector>
template <int N> struct Node {
	std::map<std::string, std::variant<int, double, std::string, std::vector<int>>> m;
	std::function<int(int)> f = [](int x) { return x + N; };
	int run() { m["a" + std::to_string(N)] = N; return f(int(m.size())) + Node<N - 1>().run(); }
};
template <> struct Node<0> { int run() { return 0; } };
int main() { std::regex r("(a|b)*c"); return Node<150>().run() + std::regex_match("abc", r); }
"""


@program("g++", "g++")
def _(job):
    return ["g++", "-O2", "-c", job.write("big.cc", CPLUSPLUS), "-o", job.path("big.o")]


@program("make-j2", "make", "gcc")
def _(job):
    for i in range(8):
        job.write("part%d.c" % i, functions(250))
    job.write("Makefile", "objects = $(patsubst %.c,%.o,$(wildcard part*.c))\nall: $(objects)\n"
              "%.o: %.c\n\t$(CC) -O2 -c -o $@ $<\n")
    return ["make", "-s", "-B", "-j2", "-C", job.dir]


def text_file(job, name, lines):
    """Lines in no order: the same in every run."""
    with open(job.path(name), "w") as f:
        n = 12345
        for _ in range(lines):
            n = (n * 1103515245 + 12345) & 0x7fffffff
            f.write("%d some words of a line %x\n" % (n, n * 7))
    return job.path(name)


@program("xz", "xz")
def _(job):
    return ["xz", "-4", "-T2", "--block-size=6MiB", "-c", text_file(job, "text", 600000)]


@program("zstd", "zstd")
def _(job):
    return ["zstd", "-q", "-15", "-T2", "-c", text_file(job, "text", 700000)]


@program("sort", "sort")
def _(job):
    text_file(job, "text", 1500000)
    return job.shell("sort -S 96M --parallel=2 -o sorted text; at sorted; sort -S 24M -k 4 -o sorted text\n"
                     "sort -n text | (sleep 4; sort -r | (sleep 3; tail -n 1))")


@program("git-repack", "git")
def _(job):
    job.write("make.sh", """set -e
git init -q . && git config user.email o@example.org && git config user.name o && git config gc.auto 0
for i in $(seq 1 30); do
	seq $i 3 $((i * 9000)) >numbers; seq 1 $i 60000 | sort >other$((i % 7))
	git add numbers other* && git commit -q -m "commit $i"
done
""")
    job.do("bash", job.path("make.sh"))
    return job.shell("for i in 1 2 3; do git repack -q -a -d -f --window=60 --depth=60; done; at repacked; git gc -q; "
                     "git log -p | cksum; at done")


@program("sqlite3", "sqlite3")
def _(job):
    sql = """.print @ start
.shell sleep 2
create table t(a integer primary key, b text);
with recursive c(n) as (select 1 union all select n + 1 from c where n < 120000)
	insert into t select n, hex(zeroblob(200)) from c;
.print @ filled
.shell sleep 2.5
create index i on t(b, a);
.print @ indexed
.shell sleep 2.5
delete from t where a % 2; drop index i;
.print @ a half deleted
.shell sleep 2.5
vacuum;
.print @ vacuumed
.shell sleep 2.5
"""
    return ["sqlite3", ":memory:", ".read " + job.write("run.sql", sql)]


@program("imagemagick", "convert", "identify")
def _(job):
    return job.shell("convert -size 3000x2000 plasma:red-blue p.png; at made\n"
                     "convert p.png -blur 0x8 -rotate 33 -resize 50% q.png; convert p.png q.png -append r.png; at done")


@program("ffmpeg", "ffmpeg")
def _(job):
    return ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=duration=20:size=1280x720:rate=25",
            "-c:v", "mpeg4", "-y", job.path("o.mkv")]


@program("bash-forks", "bash")
def _(job):
    return job.shell("x=$(printf '%0*d' 4000000 7); y=$x$x$x; at 16 MB of variables\n"
                     "for i in 1 2 3 4; do (z=$x$i; sleep 3; echo ${#z} >/dev/null) & done; at 4 subshells; wait\n"
                     "a=(); for ((i = 0; i < 150000; i++)); do a+=(\"element $i\"); done; at 150,000 elements\n"
                     "for i in {1..300}; do $(: $i); done; echo ${#y} | cat >/dev/null; unset x y; at unset")


@program("stress-ng", "stress-ng")
def _(job):
    return ["stress-ng", "-q", "--vm", "2", "--vm-bytes", "160M", "--vm-keep", "--vm-method", "zero-one",
            "--timeout", "8"]


# ---- servers -----------------------------------------------------------------------------------------------------

REDIS = r"""
redis-server --port 0 --unixsocket s --save '' --appendonly no --dir . --loglevel warning --crash-log-enabled no &
server=$!
tries=0
until [ "$(redis-cli -s s ping 2>&1)" = PONG ]; do
	tries=$((tries + 1)); [ $tries -lt 500 ] || exit 9; sleep 0.02
done
do_() { redis-cli -s s "$@" >/dev/null || exit 8; }
do_ eval "for i = 1, 90000 do redis.call('set', 'k' .. i, string.rep('v', 1000)) end" 0
at populated
do_ config set rdb-key-save-delay 50
do_ bgsave
redis-benchmark -s s -t set -n 150000 -c 8 -d 1000 -r 90000 -q >/dev/null &
at saved while written
wait $!
do_ config set rdb-key-save-delay 0
until redis-cli -s s info persistence | grep -q 'rdb_bgsave_in_progress:0'; do sleep 0.1; done
at written
do_ eval "for i = 1, 45000 do redis.call('del', 'k' .. i) end" 0
at a half deleted
do_ flushall
at flushed
redis-cli -s s shutdown nosave
wait $server
"""


@program("redis", "redis-server", "redis-cli", "redis-benchmark")
def _(job):
    return job.shell(REDIS)


POSTGRES = r"""
pg_ctl -s -w -D data -l log -o "-k $PWD -c listen_addresses='' -c fsync=off -c shared_buffers=96MB -c jit=off" start
pgbench -q -i -s 4 -h "$PWD" postgres >/dev/null 2>&1 || exit 8
at filled
pgbench -h "$PWD" -c 6 -j 2 -T 6 postgres >/dev/null 2>&1 || exit 7
at pgbench ran
psql -X -q -A -t -h "$PWD" -d postgres >/dev/null <<-E || exit 6
	set work_mem = '64MB';
	select count(*) from (select abalance, aid, filler from pgbench_accounts order by filler, aid desc) x;
	select pg_sleep(2);
	set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set min_parallel_table_scan_size = 0;
	select count(distinct md5(aid::text)) from pgbench_accounts;
	select pg_sleep(2);
E
at sorted
pg_ctl -s -w -D data -m fast stop
"""


@program("postgresql", user="postgres")
def _(job):
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found or not os.path.exists(found[-1] + "/pgbench"):
        raise Skip("PostgreSQL's server or pgbench is missing")
    job.env.update(PATH=found[-1] + ":" + job.ground.env["PATH"], PGOPTIONS="", PGHOST="")
    job.do(found[-1] + "/initdb", "-D", job.path("data"), "-A", "trust", "-N", "--no-locale", "-E", "UTF8")
    return job.shell(POSTGRES)



NGINX = """daemon off; master_process on; worker_processes 4; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
	uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; gzip on; gzip_types *; proxy_cache_path {dir}/c keys_zone=z:32m;
	server {{ listen unix:{dir}/s.sock; root {dir}; }} }}
"""

ASK = r"""
import socket, time
def ask():
    s = socket.socket(socket.AF_UNIX)
    for i in range(500):
        try:
            s.connect("s.sock")
            break
        except OSError:
            time.sleep(0.02)
    s.sendall(b"GET /text HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
    while s.recv(1 << 16):
        pass
for i in range(12):
    ask()
"""


@program("nginx", "nginx", PYTHON)
def _(job):
    text_file(job, "text", 100000)
    os.chmod(job.dir, 0o755)
    os.chmod(job.ground.work, 0o755)
    os.chmod(job.ground.top, 0o755)
    config = job.write("nginx.conf", ("user root;\n" if job.as_root else "") + NGINX.format(dir=job.dir))
    ask = job.write("ask.py", ASK)
    return job.shell("nginx -p . -c %s & server=$!\nat started\n%s %s; at asked\n"
                     "kill -HUP $server; at other workers\n%s %s; at asked again\nkill $server; wait $server"
                     % (config, PYTHON, ask, PYTHON, ask))


@program("apache-prefork", "apache2", PYTHON)
def _(job):
    modules = "/usr/lib/apache2/modules/"
    if not os.path.exists(modules + "mod_mpm_prefork.so"):
        raise Skip("mod_mpm_prefork is missing")
    text_file(job, "text", 50000)
    config = job.write("apache.conf", "\n".join([
        "ServerName x", "ServerRoot " + job.dir, "DocumentRoot " + job.dir, "PidFile pid", "ErrorLog error.log",
        "DefaultRuntimeDir " + job.dir, "Listen 127.0.0.1:%d" % (20000 + os.getpid() % 20000),
        "LoadModule mpm_prefork_module %smod_mpm_prefork.so" % modules,
        "LoadModule authz_core_module %smod_authz_core.so" % modules,
        *(["User www-data", "Group www-data"] if job.as_root else []),
        "StartServers 8", "MinSpareServers 8", "MaxSpareServers 12"]) + "\n")
    return job.shell("setsid apache2 -f %s -DFOREGROUND & server=$!\nat started\n"
                     "kill -USR1 $server; at reloaded\nsleep 2\nkill $server; wait $server" % config)


MEMCACHED = """
import socket, time
s = socket.socket(socket.AF_UNIX)
for i in range(500):
    try:
        s.connect("m.sock")
        break
    except OSError:
        time.sleep(0.02)
answers = s.makefile("rb")
def at(step):
    print("@ " + step, flush=True)
    time.sleep(2.5)
def fill(n, size):
    for i in range(n):
        s.sendall(b"set k%d 0 0 %d noreply\\r\\n%s\\r\\n" % (i, size, b"v" * size))
    s.sendall(b"version\\r\\n")
    answers.readline()
fill(20000, 1000); at("20 MB")
fill(15000, 4000); at("80 MB")
fill(60000, 3000); at("full")
"""


@program("memcached", "memcached", PYTHON)
def _(job):
    return job.shell("memcached %s -s m.sock -m 96 -t 4 & server=$!\n%s %s; kill $server; wait $server; true"
                     % ("-u root" if job.as_root else "", PYTHON, job.write("fill.py", MEMCACHED)))


# ---- small ones --------------------------------------------------------------------------------------------------

TODO = {"unmapped": "shared memory that nobody maps is nobody's here"}
WITHOUT_PRIVILEGE = "memfd sysv shared-anon fork-cow prefork".split()  # where root's daemon has better ways to know


def add_small(mode, name, user=None):
    @program(name, user=user, todo=TODO.get(mode))
    def _(job):
        if not os.path.exists(SMALL):
            raise Skip("%s is not built" % SMALL)
        copy = job.path("small")
        shutil.copy(SMALL, copy)
        os.chmod(copy, 0o755)
        return [copy, mode]


for each in MODES:
    add_small(each, "small " + each)
for each in WITHOUT_PRIVILEGE if ROOT else []:
    add_small(each, "nobody's " + each, user="nobody")


@program("small static", "gcc")
def _(job):
    """It cannot be preloaded: the daemon looks at it."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small.c")
    job.do("gcc", "-O1", "-static", "-o", job.path("small-static"), source, "-pthread")
    return [job.path("small-static"), "mremap"]
