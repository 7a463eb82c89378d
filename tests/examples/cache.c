/* SPDX-License-Identifier: MIT */
/* cache ENTRIES: a cache that grows as long as it may, and drops its older half when its group is short of memory.
 *
 *     cc cache.c -o cache $(pkg-config --cflags --libs memctl)
 *     memctl run --high 64M -- ./cache 100000
 */
#include <err.h>
#include <memctl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_SIZE 4096

struct entry {
	struct entry *newer;
	char data[ENTRY_SIZE];
};

static struct entry *oldest, *newest;
static unsigned long entries, dropped;

static void drop_oldest(void)
{
	struct entry *e = oldest;

	oldest = e->newer;
	if (!oldest)
		newest = NULL;
	free(e);
	entries--;
	dropped++;
}

static void shrink(void)
{
	for (unsigned long n = entries / 2 + 1; n && oldest; n--)
		drop_oldest();
}

/* A cache need not grow: without memory it makes room among its own. */
static void add(unsigned long number)
{
	struct entry *e = malloc(sizeof(*e));

	while (!e && oldest) {
		shrink();
		e = malloc(sizeof(*e));
	}
	if (!e)
		return;
	memset(e->data, (int)number, sizeof(e->data));
	e->newer = NULL;
	*(newest ? &newest->newer : &oldest) = e;
	newest = e;
	entries++;
}

static int is_under_pressure(struct memctl *m, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct memctl_notice n;

	/* When the daemon was away, pressure may have gone by unnoticed: better once too often. */
	return poll(&p, 1, 0) > 0 && memctl_notice(m, fd, &n) == 0 && (n.fired || n.missed);
}

int main(int argc, char **argv)
{
	unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	const char *group = getenv("MEMCTL_GROUP"); /* memctl run sets it */
	unsigned long shrunk = 0;
	struct memctl *m;
	int fd;

	if (memctl_open(NULL, 0, &m))
		errx(1, "%s", memctl_error());
	fd = memctl_subscribe(m, group ? group : "/", "pressure:medium");
	if (fd < 0)
		errx(1, "%s", memctl_error());
	for (unsigned long i = 0; i < wanted; i++) {
		if (is_under_pressure(m, fd)) {
			shrink();
			shrunk++;
		}
		add(i);
	}
	printf("%lu entries, %lu dropped, shrunk %lu times\n", entries, dropped, shrunk);
	while (oldest)
		drop_oldest();
	memctl_close(m);
	return 0;
}
