/* SPDX-License-Identifier: MIT */
/* memctl watch --lmm: what low-memory-monitor tells by D-Bus, told of a group.
 *
 * names         As low-memory-monitor 2.1 has them: the signal LowMemoryWarning with one byte, 50, 100 or 255, on the
 *               system bus. GLib's GMemoryMonitor looks for the name's owner when an application starts, and for the
 *               signal from then on.
 * pace          A level is told at most once a second, as low-memory-monitor does, whose window is a second; a higher one
 *               at once.
 * library       libsystemd is opened here and not linked: loading it costs 0.6 ms, which each `memctl run` would pay.
 */
#include "memctl/watch.h"

#include "memctl/say.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define NAME "org.freedesktop.LowMemoryMonitor"
#define OBJECT "/org/freedesktop/LowMemoryMonitor"
#define SIGNAL "LowMemoryWarning"

#define PACE_NS 1000000000ull
#define LEVELS 3

static const struct {
	const char *event;
	uint8_t byte;
} levels[LEVELS] = {
	{ "pressure:low,hierarchy", 50 },
	{ "pressure:medium,hierarchy", 100 },
	{ "pressure:critical,hierarchy", 255 },
};

/* ---- the library ------------------------------------------------------------------------- */

#define FUNCTIONS(f) \
	f(sd_bus_open_system) f(sd_bus_request_name) f(sd_bus_emit_signal) f(sd_bus_process) f(sd_bus_flush) \
		f(sd_bus_get_fd) f(sd_bus_get_events) f(sd_bus_get_timeout) f(sd_bus_flush_close_unref)

static struct {
#define FUNCTION(name) __typeof__(&name) name;
	FUNCTIONS(FUNCTION)
#undef FUNCTION
} bus_library;

static int open_library(void)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return say_failed("watch", "--lmm needs libsystemd (the Debian package libsystemd0): %s", dlerror());
#define FUNCTION(name) \
	*(void **)&bus_library.name = dlsym(library, #name); \
	if (!bus_library.name) \
		return say_failed("watch", "--lmm: libsystemd has no " #name ": version 221 or newer is needed");
	FUNCTIONS(FUNCTION)
#undef FUNCTION
	return 0;
}

/* ---- the bus ----------------------------------------------------------------------------- */

static int open_bus(sd_bus **ret)
{
	int err = bus_library.sd_bus_open_system(ret);

	if (err < 0)
		return say_failed("watch", "cannot reach the system bus: %s; DBUS_SYSTEM_BUS_ADDRESS names another",
				  strerror(-err));
	err = bus_library.sd_bus_request_name(*ret, NAME, 0);
	if (err >= 0)
		return 0;
	if (err == -EEXIST)
		return say_failed("watch",
				  "the name " NAME " is taken: another low-memory-monitor runs; stop it first");
	return say_failed("watch",
			  "the bus does not let this user have the name " NAME
			  ": %s; memctl(1) says what its policy needs",
			  strerror(-err));
}

/* Answers what others ask our connection; an error means that the bus has gone. */
static int process_bus(sd_bus *bus)
{
	int err;

	do
		err = bus_library.sd_bus_process(bus, NULL);
	while (err > 0);
	return err < 0 ? say_failed("watch", "the system bus has gone: %s", strerror(-err)) : 0;
}

static int emit(sd_bus *bus, unsigned level)
{
	int err = bus_library.sd_bus_emit_signal(bus, OBJECT, NAME, SIGNAL, "y", levels[level].byte);

	if (err >= 0)
		err = bus_library.sd_bus_flush(bus);
	return err < 0 ? say_failed("watch", "cannot send to the system bus: %s", strerror(-err)) : 0;
}

/* ---- the bridge -------------------------------------------------------------------------- */

struct bridge {
	struct memctl *m;
	const char *group;
	sd_bus *bus;
	struct pollfd p[LEVELS + 1]; /* the last is the bus's */
	uint64_t told_ns[LEVELS];    /* 0: never */
	bool is_removed;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int subscribe(struct bridge *b)
{
	for (unsigned i = 0; i < LEVELS; i++) {
		int fd = memctl_subscribe(b->m, b->group, levels[i].event);

		if (fd < 0)
			return say_error("watch", fd);
		b->p[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	return 0;
}

/* The highest level that has fired, LEVELS for none: a critical window fires all three. */
static unsigned take_level(struct bridge *b)
{
	unsigned level = LEVELS;

	for (unsigned i = 0; i < LEVELS; i++) {
		struct memctl_notice n;

		if (memctl_notice(b->m, b->p[i].fd, &n))
			continue;
		b->is_removed |= n.is_removed;
		if (n.fired)
			level = i;
	}
	return level;
}

static int tell(struct bridge *b, unsigned level)
{
	uint64_t now = now_ns();

	if (b->told_ns[level] && now - b->told_ns[level] < PACE_NS)
		return 0;
	for (unsigned i = 0; i <= level; i++)
		b->told_ns[i] = now;
	return emit(b->bus, level);
}

static int poll_ms(const struct bridge *b)
{
	uint64_t at_us, now_us = now_ns() / 1000;

	if (bus_library.sd_bus_get_timeout(b->bus, &at_us) < 0 || at_us == UINT64_MAX)
		return -1;
	return at_us <= now_us ? 0 : (int)((at_us - now_us) / 1000 + 1);
}

static int wait_for_events(struct bridge *b)
{
	int bad = process_bus(b->bus);

	while (!bad && !b->is_removed) {
		int events = bus_library.sd_bus_get_events(b->bus);
		unsigned level;

		b->p[LEVELS] = (struct pollfd){ .fd = bus_library.sd_bus_get_fd(b->bus),
						.events = (short)(events < 0 ? POLLIN : events) };
		if (poll(b->p, LEVELS + 1, poll_ms(b)) < 0 && errno != EINTR)
			return say_failed("watch", "cannot wait: %m");
		level = take_level(b);
		if (level < LEVELS)
			bad = tell(b, level);
		if (!bad)
			bad = process_bus(b->bus);
	}
	return bad ? bad : say_failed("watch", "%s was removed", b->group);
}

int watch_lmm(struct memctl *m, const char *group)
{
	struct bridge b = { .m = m, .group = group };
	int bad = open_library();

	if (!bad)
		bad = open_bus(&b.bus);
	if (!bad)
		bad = subscribe(&b);
	if (!bad)
		bad = wait_for_events(&b);
	if (b.bus)
		(void)bus_library.sd_bus_flush_close_unref(b.bus);
	return bad;
}
