/* SPDX-License-Identifier: MIT */
/* An example of each function of libmemctl, as libmemctl(3) has them: what stands between EXAMPLE and END goes there. Runs
 * all of them, with the daemon of $MEMCTL_DIR. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <memctl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct memctl *m;

static void open_connection(void)
{
	/* EXAMPLE memctl_open */
	if (memctl_open(NULL, 0, &m))
		errx(1, "%s", memctl_error());
	/* END */
}

static void close_connection(void)
{
	/* EXAMPLE memctl_close */
	memctl_close(m);
	m = NULL;
	/* END */
}

static void explain(void)
{
	/* EXAMPLE memctl_error */
	if (memctl_remove(m, "/no-such-group", 0) == -ENOENT)
		printf("%s\n", memctl_error());
	/* END */
}

static void say_where(void)
{
	/* EXAMPLE memctl_dir memctl_daemon_pid */
	printf("process %d serves %s\n", (int)memctl_daemon_pid(m), memctl_dir(m));
	/* END */
}

static void say_version(void)
{
	/* EXAMPLE memctl_version */
	printf("libmemctl %s\n", memctl_version());
	/* END */
}

static void create(void)
{
	/* EXAMPLE memctl_create */
	const char *limits[] = { "memory.max=64M", "memory.high=48M", NULL };

	if (memctl_create(m, "/example/jobs", MEMCTL_PARENTS, limits))
		errx(1, "%s", memctl_error());
	/* END */
}

static void set(void)
{
	/* EXAMPLE memctl_set */
	const char *more[] = { "memory.max=128M", NULL };

	if (memctl_set(m, "/example/jobs", more))
		errx(1, "%s", memctl_error());
	/* END */
}

/* EXAMPLE memctl_get */
static int print_value(const struct memctl_value *v, void *arg)
{
	(void)arg;
	printf("%s%s%s: %s\n", v->key, v->field ? "." : "", v->field ? v->field : "", v->text);
	return 0;
}

static int print_events(const char *group)
{
	const char *keys[] = { "memory.max", "memory.events", NULL };

	return memctl_get(m, group, keys, print_value, NULL);
}
/* END */

static void get_number(void)
{
	/* EXAMPLE memctl_get_number */
	uint64_t max, refused;

	if (memctl_get_number(m, "/example/jobs", "memory.max", &max) ||
	    memctl_get_number(m, "/example/jobs", "memory.events.oom", &refused))
		errx(1, "%s", memctl_error());
	if (max != MEMCTL_MAX)
		printf("%" PRIu64 " bytes at most, %" PRIu64 " charges refused\n", max, refused);
	/* END */
}

/* EXAMPLE memctl_list */
static int print_group(const struct memctl_group *g, void *arg)
{
	(void)arg;
	printf("%s: %" PRIu64 " bytes, %u members\n", g->path, g->current, g->members);
	return 0;
}

static int print_all_groups(void)
{
	return memctl_list(m, "/", MEMCTL_RECURSIVE, print_group, NULL);
}
/* END */

/* EXAMPLE memctl_members */
static int print_member(const struct memctl_member *p, void *arg)
{
	(void)arg;
	printf("%d (%s) holds %" PRIu64 " bytes\n", (int)p->pid, p->comm, p->held);
	return 0;
}

static int print_members(const char *group)
{
	return memctl_members(m, group, 0, print_member, NULL);
}
/* END */

static void end_all(void)
{
	/* EXAMPLE memctl_kill */
	int told = memctl_kill(m, "/example/jobs", SIGTERM);

	if (told < 0)
		errx(1, "%s", memctl_error());
	printf("%d processes were asked to end\n", told);
	/* END */
}

static void move(pid_t pid)
{
	/* EXAMPLE memctl_move */
	int err = memctl_move(m, pid, "/example/jobs", "anon");

	if (err == -ESRCH)
		printf("process %d is no member\n", (int)pid);
	else if (err)
		errx(1, "%s", memctl_error());
	/* END */
}

static void reclaim(void)
{
	/* EXAMPLE memctl_reclaim */
	uint64_t given;

	if (memctl_reclaim(m, "/example/jobs", "16M", &given) == -EAGAIN)
		printf("%s\n", memctl_error());
	/* END */
}

static void subscribe(void)
{
	/* EXAMPLE memctl_subscribe memctl_notice memctl_unsubscribe */
	int fd = memctl_subscribe(m, "/example/jobs", "pressure:medium");
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	struct memctl_notice n;

	if (fd < 0)
		errx(1, "%s", memctl_error());
	if (poll(&wait, 1, 100) > 0 && memctl_notice(m, fd, &n) == 0) {
		if (n.fired)
			printf("under pressure, %" PRIu64 " times\n", n.fired);
		if (n.missed)
			printf("the daemon was away: there may have been more\n");
		if (n.is_removed)
			printf("the group is gone\n");
	}
	memctl_unsubscribe(m, fd);
	/* END */
}

static void say_usage(void)
{
	/* EXAMPLE memctl_self_usage */
	struct memctl_self_usage u;

	if (memctl_self_usage(&u))
		errx(1, "%s", memctl_error());
	printf("%" PRIu64 " bytes held, %" PRIu64 " unused\n", u.held, u.unused);
	if (u.room != MEMCTL_MAX)
		printf("room for %" PRIu64 " bytes more\n", u.room);
	/* END */
}

/* EXAMPLE memctl_shrinker_register memctl_shrinker_unregister memctl_shrinking */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *spare[64]; /* blocks of 4096 bytes, kept for the next time */
static unsigned spares;

static uint64_t give_spares(void *arg, uint64_t bytes)
{
	uint64_t given = 0;

	(void)arg;
	/* They lie in the host's memory: a device would have nothing of them. */
	if (strcmp(memctl_shrinking(), "memory") != 0 || pthread_mutex_trylock(&lock))
		return 0;
	for (; spares && given < bytes; given += 4096)
		free(spare[--spares]);
	pthread_mutex_unlock(&lock);
	return given;
}

static void use_spares(void)
{
	if (memctl_shrinker_register(give_spares, NULL))
		errx(1, "%s", memctl_error());
	/* ... */
	memctl_shrinker_unregister(give_spares, NULL);
}
/* END */

/* EXAMPLE memctl_volatile */
static int picture_is_gone(void *picture, size_t size)
{
	/* Between two uses it may be dropped: it can be drawn again. */
	if (memctl_volatile(picture, size, true) < 0)
		errx(1, "%s", memctl_error());
	/* ... */
	return memctl_volatile(picture, size, false) == 1;
}
/* END */

static void show_picture(void)
{
	size_t size = 1 << 20;
	void *picture = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (picture == MAP_FAILED)
		err(1, "mmap");
	memset(picture, 1, size);
	printf("the picture %s\n", picture_is_gone(picture, size) ? "is drawn again" : "is as it was");
	munmap(picture, size);
}

static void charge(void)
{
	/* EXAMPLE memctl_charge memctl_uncharge */
	if (memctl_charge("memory", 1 << 20) == -ENOMEM) {
		printf("the group has no room for it\n");
	} else {
		/* ... take it, and later give it back: */
		memctl_uncharge("memory", 1 << 20);
	}
	/* END */
}

static void status(void)
{
	/* EXAMPLE memctl_status */
	if (memctl_status(m, print_value, NULL))
		errx(1, "%s", memctl_error());
	/* END */
}

/* EXAMPLE memctl_keys */
static int print_key(const struct memctl_key *k, void *arg)
{
	(void)arg;
	printf("%s (%s, %s): %s\n", k->name, k->access, k->format, k->help);
	return 0;
}

static int print_keys(void)
{
	return memctl_keys(m, print_key, NULL);
}
/* END */

static void request(void)
{
	/* EXAMPLE memctl_request */
	char *reply;

	if (memctl_request(m, "{\"v\":1,\"op\":\"hello\"}", &reply))
		errx(1, "%s", memctl_error());
	printf("%s\n", reply);
	free(reply);
	/* END */
}

static void remove_group(void)
{
	/* EXAMPLE memctl_remove */
	if (memctl_remove(m, "/example", MEMCTL_RECURSIVE) == -EBUSY)
		printf("somebody is still in it\n");
	/* END */
}

static void must(int err)
{
	if (err)
		errx(1, "%s", memctl_error());
}

int main(void)
{
	say_version();
	open_connection();
	say_where();
	explain();
	create();
	set();
	must(print_events("/example/jobs"));
	get_number();
	must(print_all_groups());
	must(print_members("/"));
	move(getpid());
	reclaim();
	subscribe();
	end_all();
	say_usage();
	use_spares();
	show_picture();
	charge();
	status();
	must(print_keys());
	request();
	remove_group();
	close_connection();
	return 0;
}
