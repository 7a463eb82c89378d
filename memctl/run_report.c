/* SPDX-License-Identifier: MIT */
/* memctl run: what is said when charges were refused, and the report at the end. */
#include "memctl/run.h"

#include "accounting/member.h"
#include "accounting/units.h"
#include "memctl/say.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OVER_BYTES (1u << 20)

/* Keeps a value's text in a pointer, for free(). */
static int keep_text(const struct memctl_value *v, void *arg)
{
	char **text = arg;

	free(*text);
	*text = strdup(v->text);
	return 0;
}

/* The last charge that a group refused. */
struct refusal {
	pid_t pid; /* 0: unknown */
	uint64_t bytes;
	char comm[16];
};

/* ---- reading ----------------------------------------------------------------------------- */

static int take(const struct memctl_value *v, void *arg)
{
	struct run_level *l = arg;
	bool is_oom = v->field && strcmp(v->field, "oom") == 0;
	bool is_kill = v->field && strcmp(v->field, "oom_kill") == 0;
	bool is_over = v->field && strcmp(v->field, "over") == 0;

	if (strcmp(v->key, "memory.max") == 0)
		l->max = v->number;
	else if (strcmp(v->key, "memory.peak") == 0)
		l->peak = v->number;
	else if (strcmp(v->key, "memory.oom.policy") == 0)
		l->fails = strcmp(v->text, "fail") == 0;
	else if (strcmp(v->key, "memory.failcnt") == 0)
		l->failcnt = v->number;
	else if (is_oom && strcmp(v->key, "memory.events.local") == 0)
		l->oom = v->number;
	else if (is_oom)
		l->oom_below = v->number;
	else if (is_kill && strcmp(v->key, "memory.events") == 0)
		l->oom_kill = v->number;
	else if (is_over && strcmp(v->key, "memory.events") == 0)
		l->over = v->number;
	return 0;
}

void run_report_read(struct memctl *m, const char *group, struct run_levels *ret)
{
	static const char *const keys[] = {
		"memory.max",	     "memory.peak", "memory.failcnt", "memory.events", "memory.events.local",
		"memory.oom.policy", NULL
	};
	char path[GROUP_PATH_MAX];

	memset(ret, 0, sizeof(*ret));
	strcpy(path, group);
	if (memctl_get(m, path, keys, take, &ret->level[0]))
		return;
	for (ret->n = 1; run_group_up(path) && ret->n <= GROUP_DEPTH_MAX; ret->n++)
		(void)memctl_get(m, path, keys, take, &ret->level[ret->n]);
}

static void read_comm(pid_t pid, char *comm, size_t size)
{
	char path[32];
	ssize_t n = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, comm, size - 1);
		(void)close(fd);
	}
	comm[n > 0 ? n : 0] = 0;
	comm[strcspn(comm, "\n")] = 0;
}

static void copy_refusal(const struct segment *seg, uint16_t group, struct refusal *ret)
{
	struct pool *p = pool_of(seg, RESOURCE_MEMORY, group);
	uint64_t word[2];

	ret->pid = (pid_t)mc_load_relaxed(&p->refused_pid);
	ret->bytes = mc_load_relaxed(&p->refused_units) << MC_PAGE_SHIFT;
	word[0] = mc_load_relaxed(&p->refused_comm[0]);
	word[1] = mc_load_relaxed(&p->refused_comm[1]);
	memcpy(ret->comm, word, sizeof(ret->comm) - 1);
}

/* The counters are shared memory: a reader's mapping shows what no key does. */
static void read_refusal(const struct run_report *r, const char *dir, const char *path, struct refusal *ret)
{
	struct segment seg;
	uint16_t group;

	memset(ret, 0, sizeof(*ret));
	if (segment_attach(dir, SEGMENT_READER, &seg))
		return;
	if (group_find(&seg, path, &group) == 0)
		copy_refusal(&seg, group, ret);
	segment_detach(&seg);
	if (!ret->comm[0] && ret->pid == r->child->pid)
		(void)snprintf(ret->comm, sizeof(ret->comm), "%.15s", r->target->name);
	if (!ret->comm[0] && ret->pid)
		read_comm(ret->pid, ret->comm, sizeof(ret->comm));
}

static uint64_t met_at(const struct run_report *r, unsigned level)
{
	uint64_t before = r->before.level[level].oom;
	uint64_t after = r->after.level[level].oom;

	return after > before ? after - before : 0;
}

/* With another policy a charge that met the limit has waited, or somebody was killed for it. */
static uint64_t refused_at(const struct run_report *r, unsigned level)
{
	return r->after.level[level].fails ? met_at(r, level) : 0;
}

/* At groups below ours, which somebody made while COMMAND ran. */
static uint64_t refused_below(const struct run_report *r)
{
	uint64_t before = r->before.level[0].oom_below;
	uint64_t all = r->after.level[0].oom_below > before ? r->after.level[0].oom_below - before : 0;
	uint64_t own = met_at(r, 0);

	return all > own ? all - own : 0;
}

static uint64_t refused_in_all(const struct run_report *r)
{
	uint64_t sum = refused_below(r);

	for (unsigned i = 0; i < r->after.n; i++)
		sum += refused_at(r, i);
	return sum;
}

/* ---- for people -------------------------------------------------------------------------- */

static const char *size_words(uint64_t bytes, char *buf)
{
	return bytes == MEMCTL_MAX ? "max" : units_format(bytes, buf);
}

static void print_refusal(FILE *to, const struct run_report *r, const char *dir, const char *path, unsigned level)
{
	const struct run_level *l = &r->after.level[level];
	char limit[UNITS_BUF], size[UNITS_BUF], peak[UNITS_BUF];
	uint64_t n = refused_at(r, level);
	struct refusal last;

	read_refusal(r, dir, path, &last);
	(void)fprintf(to, "memctl: %s refused %llu charge%s: its memory.max is %s, its peak was %s\n", path,
		      (unsigned long long)n, n == 1 ? "" : "s", size_words(l->max, limit), size_words(l->peak, peak));
	if (last.pid)
		(void)fprintf(to, "memctl:   %s was pid %d%s%s%s, which asked for %s\n", n == 1 ? "it" : "the last",
			      (int)last.pid, *last.comm ? " (" : "", last.comm, *last.comm ? ")" : "",
			      size_words(last.bytes, size));
}

/* `refused`: the group that did, NULL: some below. */
static void print_advice(FILE *to, const struct run_report *r, const char *refused)
{
	if (r->group->transient && refused_at(r, 0))
		(void)fprintf(to, "memctl:   to try: a larger limit (--max), or less work at a time\n");
	else
		(void)fprintf(to,
			      "memctl:   to try: a larger limit ('memctl set %s memory.max=SIZE'), or less work at a "
			      "time\n",
			      refused ? refused : "GROUP");
}

static void print_refusals(FILE *to, const struct run_report *r, const char *dir)
{
	char path[GROUP_PATH_MAX], refused[GROUP_PATH_MAX] = "";
	unsigned level = 0;

	strcpy(path, r->group->path);
	do
		if (refused_at(r, level)) {
			print_refusal(to, r, dir, path, level);
			strcpy(refused, path);
		}
	while (run_group_up(path) && ++level < r->after.n);
	if (refused_below(r))
		(void)fprintf(to,
			      "memctl: groups below %s refused %llu charge%s; 'memctl stat' of each "
			      "says which\n",
			      r->group->path, (unsigned long long)refused_below(r), refused_below(r) == 1 ? "" : "s");
	if (refused_in_all(r))
		print_advice(to, r, *refused ? refused : NULL);
}

/* By more than what every group near its limit goes above it by. */
static bool went_over(const struct run_report *r, unsigned level)
{
	const struct run_level *before = &r->before.level[level], *after = &r->after.level[level];

	return after->max != MEMCTL_MAX && after->over > before->over && after->peak > before->peak &&
	       after->peak > after->max + after->max / 16 + OVER_BYTES;
}

/* A limit that did not hold is no news for the program, which noticed nothing, but for whoever set it. */
static void print_overs(FILE *to, const struct run_report *r)
{
	char path[GROUP_PATH_MAX], limit[UNITS_BUF], peak[UNITS_BUF];
	unsigned level = 0;

	strcpy(path, r->group->path);
	do
		if (went_over(r, level))
			(void)fprintf(to,
				      "memctl: %s went above its memory.max of %s: its peak was %s; what could not be "
				      "refused "
				      "is explained by 'memctl stat' (over_...) and 'memctl doctor PROGRAM'\n",
				      path, size_words(r->after.level[level].max, limit),
				      size_words(r->after.level[level].peak, peak));
	while (run_group_up(path) && ++level < r->after.n);
}

static uint64_t killed(const struct run_report *r)
{
	uint64_t before = r->before.level[0].oom_kill;

	return r->after.level[0].oom_kill > before ? r->after.level[0].oom_kill - before : 0;
}

/* Its own group has been out of memory, and has another policy than to refuse. */
static bool was_short(const struct run_report *r)
{
	return killed(r) || (!r->after.level[0].fails && r->after.level[0].oom_below > r->before.level[0].oom_below);
}

bool run_report_was_short(const struct run_report *r)
{
	return r->after.n && (refused_in_all(r) || was_short(r));
}

/* Of the last time that something was done about it; to be freed. "": nothing was. */
static char *read_kill(struct memctl *m, const char *group)
{
	static const char *const keys[] = { "memory.oom.report", NULL };
	char *text = NULL;

	(void)memctl_get(m, group, keys, keep_text, &text);
	return text;
}

static void print_kills(FILE *to, const struct run_report *r, struct memctl *m)
{
	char *text = was_short(r) ? read_kill(m, r->group->path) : NULL;
	char *next = text && *text ? text : NULL;

	if (killed(r) > 1)
		(void)fprintf(to, "memctl: %s: %llu members were killed for want of memory; the last time:\n",
			      r->group->path, (unsigned long long)killed(r));
	for (char *line; (line = strsep(&next, "\n")) != NULL;)
		(void)fprintf(to, "memctl: %s%s\n", line == text ? "" : "  ", line);
	free(text);
}

static int count(const struct memctl_member *member, void *arg)
{
	(void)member;
	++*(unsigned *)arg;
	return 0;
}

static void print_words(FILE *to, const struct run_report *r, struct memctl *m, unsigned members)
{
	const struct run_level *l = &r->after.level[0];
	char peak[UNITS_BUF], limit[UNITS_BUF];

	(void)fprintf(to, "memctl: %s (pid %d) in %s %s %d\n", r->target->name, (int)r->child->pid, r->group->path,
		      r->child->signal ? "ended by signal" : "ended with status",
		      r->child->signal ? r->child->signal : r->child->status);
	(void)fprintf(to, "memctl:   peak %s, limit %s, failcnt %llu, oom %llu, members left %u\n",
		      size_words(l->peak, peak), size_words(l->max, limit),
		      (unsigned long long)(l->failcnt - r->before.level[0].failcnt),
		      (unsigned long long)refused_in_all(r), members);
	print_refusals(to, r, memctl_dir(m));
	print_overs(to, r);
	print_kills(to, r, m);
}

/* ---- for programs ------------------------------------------------------------------------ */

static json_t *json_size(uint64_t bytes)
{
	return bytes == MEMCTL_MAX ? json_string("max") : json_integer((json_int_t)bytes);
}

static json_t *json_refusal(const struct run_report *r, const char *dir, const char *path, unsigned level)
{
	struct refusal last;

	read_refusal(r, dir, path, &last);
	return json_pack("{ss sI so si sI ss%}", "group", path, "refused", (json_int_t)refused_at(r, level), "max",
			 json_size(r->after.level[level].max), "pid", (int)last.pid, "bytes", (json_int_t)last.bytes,
			 "comm", last.comm, strnlen(last.comm, sizeof(last.comm)));
}

static json_t *json_refusals(const struct run_report *r, const char *dir)
{
	json_t *list = json_array();
	char path[GROUP_PATH_MAX];
	unsigned level = 0;

	strcpy(path, r->group->path);
	do
		if (refused_at(r, level))
			(void)json_array_append_new(list, json_refusal(r, dir, path, level));
	while (run_group_up(path) && ++level < r->after.n);
	return list;
}

static void print_json(FILE *to, const struct run_report *r, struct memctl *m, unsigned members)
{
	const struct run_level *l = &r->after.level[0];
	char *kill = was_short(r) ? read_kill(m, r->group->path) : NULL;
	json_t *object =
		json_pack("{ss ss* si si si so so sI sI si so sI ss*}", "group", r->group->path, "command",
			  r->target->name, "pid", (int)r->child->pid, "status", r->child->status, "signal",
			  r->child->signal, "peak", json_size(l->peak), "max", json_size(l->max), "failcnt",
			  (json_int_t)(l->failcnt - r->before.level[0].failcnt), "oom", (json_int_t)refused_in_all(r),
			  "members", (int)members, "refusals", json_refusals(r, memctl_dir(m)), "oom_kill",
			  (json_int_t)killed(r), "oom_report", kill);

	(void)json_dumpf(object, to, JSON_INDENT(2));
	(void)fputc('\n', to);
	json_decref(object);
	free(kill);
}

static FILE *open_file(const struct run_report *r)
{
	FILE *to;

	if (!r->file)
		return stderr;
	to = fopen(r->file, "we");
	if (!to)
		say_note("run", "cannot write the report to %s: %m", r->file);
	return to;
}

bool run_report_can_be_written(const struct run_report *r)
{
	FILE *to = r->file ? fopen(r->file, "ae") : NULL;

	if (to)
		(void)fclose(to);
	return to || !r->file;
}

void run_report_print(struct memctl *m, const struct run_report *r)
{
	unsigned members = 0;
	FILE *to;

	if (r->after.n == 0) {
		if (r->asked)
			say_note("run", "no report: %s was gone with its daemon", r->group->path);
		return;
	}
	if (!r->asked) {
		print_refusals(stderr, r, memctl_dir(m));
		print_overs(stderr, r);
		print_kills(stderr, r, m);
		return;
	}
	to = open_file(r);
	if (!to)
		return;
	(void)memctl_members(m, r->group->path, 0, count, &members);
	(r->json ? print_json : print_words)(to, r, m, members);
	if (to != stderr && fclose(to))
		say_note("run", "cannot write the report to %s: %m", r->file);
}
