/* SPDX-License-Identifier: MIT */
/* A process's private anonymous mappings. */
#include "accounting/smaps.h"

#include "accounting/layout.h"
#include "accounting/sys.h"

#include <string.h>
#include <sys/sysinfo.h>

/* A mapping whose lines are being read. */
struct reading {
	struct smaps_mapping now;
	bool is_open;
	smaps_take *take;
	void *to;
};

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *hexadecimal(const char *p, uint64_t *ret)
{
	uint64_t v = 0;

	for (; digit(*p) >= 0; p++)
		v = v << 4 | (uint64_t)digit(*p);
	*ret = v;
	return p;
}

/* "7f00-7f01 rw-p 00000000 00:00 0  [name]": private, inode 0, and no name but the kernel's for
 * heaps. */
static void begin(struct reading *r, const char *line)
{
	struct smaps_mapping *m = &r->now;
	const char *p, *name;

	if (r->is_open)
		r->take(m, r->to);
	memset(m, 0, sizeof(*m));
	p = hexadecimal(line, &m->start);
	p = hexadecimal(p + (*p == '-'), &m->end);
	r->is_open = true;
	name = strchr(p, '[');
	m->is_anonymous = strlen(p) > 5 && p[4] == 'p' && strstr(p, " 00:00 0") && !strchr(p, '/') &&
			  (!name || strncmp(name, "[heap]", 6) == 0 || strncmp(name, "[anon", 5) == 0);
}

static void take_pages(const char *line, const char *name, uint64_t *ret)
{
	size_t n = strlen(name);
	uint64_t kib = 0;

	if (strncmp(line, name, n) != 0)
		return;
	for (line += n; *line == ' '; line++)
		;
	for (; *line >= '0' && *line <= '9'; line++)
		kib = kib * 10 + (uint64_t)(*line - '0');
	*ret = kib >> (MC_PAGE_SHIFT - 10);
}

static void take_flags(const char *line, struct smaps_mapping *m)
{
	static const char *const fixed[] = { " lo", " ht", " pf", " io", " um", " uw", " ui" };

	if (strncmp(line, "VmFlags:", 8) != 0)
		return;
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		m->is_fixed |= strstr(line, fixed[i]) != NULL;
}

static void take_line(struct reading *r, const char *line)
{
	if (digit(*line) >= 0) {
		begin(r, line);
		return;
	}
	take_pages(line, "Anonymous:", &r->now.resident);
	take_pages(line, "Referenced:", &r->now.referenced);
	take_pages(line, "Swap:", &r->now.swapped);
	take_pages(line, "LazyFree:", &r->now.lazy_free);
	take_pages(line, "AnonHugePages:", &r->now.huge);
	take_flags(line, &r->now);
}

/* Takes what lines are complete; returns how much was left, moved to the front. */
static size_t take_lines(struct reading *r, char *text, size_t n)
{
	char *from = text;

	for (char *end; (end = memchr(from, '\n', n - (size_t)(from - text))) != NULL; from = end + 1) {
		*end = 0;
		take_line(r, from);
	}
	n -= (size_t)(from - text);
	memmove(text, from, n);
	return n;
}

/* A line that does not fit is a path, of which the beginning says enough. */
static size_t make_room(struct reading *r, char *text, size_t size, size_t n)
{
	if (n < size - 1)
		return n;
	text[n] = 0;
	take_line(r, text);
	text[0] = '-'; /* what follows is neither a mapping nor a number */
	return 1;
}

int smaps_walk(int fd, char *text, size_t size, smaps_take *take, void *to)
{
	struct reading r = { .take = take, .to = to };
	size_t have = 0;
	long n;

	while ((n = sys_read(fd, text + have, size - 1 - have)) > 0)
		have = make_room(&r, text, size, take_lines(&r, text, have + (size_t)n));
	if (n == 0 && r.is_open)
		take(&r.now, to);
	return (int)n;
}

bool smaps_has_swap(void)
{
	struct sysinfo info;

	return sys_call3(SYS_sysinfo, &info, 0, 0) == 0 && info.freeswap != 0;
}
