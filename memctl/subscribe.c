/* SPDX-License-Identifier: MIT */
/* Subscriptions to a group's events.
 *
 * The eventfd is made here and sent along, so that it stays the same when the daemon does not: whoever polls it need not
 * know. What the daemon adds is a notification; what we add wakes the owner so that he asks what he may have missed. */
#include "memctl/subscribe.h"

#include "memctl/client.h"
#include "memctl/error.h"
#include "memctl/reconnect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NO_ID (-1)

struct subscription {
	int fd;
	json_int_t id; /* in this connection; NO_ID: could not be made anew */
	char *request; /* as it was sent, to be sent again */
	uint64_t ours; /* what we have added to the eventfd since the last look */
	unsigned missed;
	bool is_for_removal; /* "removed": for it the group's end is the notification */
	bool is_removed;
};

static struct subscription *find(struct memctl *m, int fd)
{
	for (size_t i = 0; i < m->subscriptions; i++)
		if (m->subscription[i].fd == fd)
			return &m->subscription[i];
	return NULL;
}

static int unknown(int fd)
{
	return error_set(-EBADF, "descriptor %d is not that of a subscription", fd);
}

/* ---- anew -------------------------------------------------------------------------------- */

static void wake_owner(struct subscription *s)
{
	s->missed++;
	s->ours += eventfd_write(s->fd, 1) == 0 && !(s->is_for_removal && s->is_removed);
}

/* 0: done, or not to be done in this connection; negative: the connection is lost. */
static int make_anew(struct memctl *m, struct subscription *s)
{
	json_t *reply;
	int err = client_exchange(m, s->request, s->fd, &reply);

	if (!err) {
		s->id = json_integer_value(json_object_get(reply, "id"));
		json_decref(reply);
	} else if (m->fd < 0 || err == -EPIPE) {
		client_drop(m);
		return error_set(-ECONNRESET, "the daemon ended while it was told of a subscription; try again");
	} else if (err != -ENOENT) {
		return 0;
	}
	s->is_removed = err != 0; /* the group went with the last daemon */
	wake_owner(s);
	return 0;
}

int subscribe_again(struct memctl *m)
{
	int err = 0;

	for (size_t i = 0; i < m->subscriptions; i++)
		m->subscription[i].id = NO_ID;
	for (size_t i = 0; i < m->subscriptions && !err; i++)
		if (!m->subscription[i].is_removed)
			err = make_anew(m, &m->subscription[i]);
	return err;
}

bool subscribe_retry(struct memctl *m)
{
	bool is_left = false;

	for (size_t i = 0; i < m->subscriptions && m->fd >= 0; i++) {
		struct subscription *s = &m->subscription[i];

		if (s->id == NO_ID && !s->is_removed && make_anew(m, s) == 0)
			is_left |= s->id == NO_ID && !s->is_removed;
	}
	return is_left;
}

bool subscribe_is_used(const struct memctl *m)
{
	for (size_t i = 0; i < m->subscriptions; i++)
		if (!m->subscription[i].is_removed)
			return true;
	return false;
}

/* ---- making, looking, ending --------------------------------------------------------------- */

static int grow(struct memctl *m)
{
	size_t room = m->subscriptions_room ? 2 * m->subscriptions_room : 4;
	struct subscription *more;

	if (m->subscriptions < m->subscriptions_room)
		return 0;
	more = reallocarray(m->subscription, room, sizeof(*more));
	if (!more)
		return error_set(-ENOMEM, "no memory left");
	m->subscription = more;
	m->subscriptions_room = room;
	return 0;
}

/* The reviver runs before anything is subscribed: a connection that nobody watches would be lost unnoticed. */
static int make(struct memctl *m, struct subscription *s)
{
	json_t *reply;
	int err = grow(m);

	if (!err)
		err = reconnect_start(m);
	if (!err)
		err = client_round_trip(m, s->request, s->fd, &reply);
	if (err)
		return err;
	s->id = json_integer_value(json_object_get(reply, "id"));
	json_decref(reply);
	m->subscription[m->subscriptions++] = *s;
	reconnect_wake(m);
	return 0;
}

static int pack(const char *group, const char *event, char **ret_text)
{
	json_t *request = client_new_request("subscribe", group);

	if (request && json_object_set_new(request, "event", json_string(event)) == 0)
		*ret_text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	return *ret_text ? 0 : error_set(-EINVAL, "what was given is not UTF-8 text");
}

int memctl_subscribe(struct memctl *m, const char *group, const char *event)
{
	struct subscription s = { .id = NO_ID, .is_for_removal = strcmp(event, "removed") == 0 };
	int err = pack(group, event, &s.request);

	if (err)
		return err;
	s.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s.fd < 0)
		err = error_set(-errno, "cannot make an eventfd: %m");
	if (!err) {
		(void)pthread_mutex_lock(&m->lock);
		err = make(m, &s);
		(void)pthread_mutex_unlock(&m->lock);
	}
	if (!err)
		return s.fd;
	if (s.fd >= 0)
		(void)close(s.fd);
	free(s.request);
	return err;
}

/* The last thing that a removed group adds is its end. Only the daemon can tell it from a notification; one that went
 * away is asked no more, for the next one will say. */
static void look_for_end(struct memctl *m, struct subscription *s, struct memctl_notice *notice)
{
	char text[80];
	json_t *reply;
	int err;

	if (s->id == NO_ID || m->fd < 0)
		return;
	(void)snprintf(text, sizeof(text), "{\"v\":1,\"op\":\"subscriptions\",\"id\":%lld}", (long long)s->id);
	err = client_exchange(m, text, -1, &reply);
	if (err == -EPIPE)
		client_drop(m);
	if (err)
		return;
	if (json_is_true(json_object_get(json_array_get(json_object_get(reply, "subscriptions"), 0), "removed"))) {
		s->is_removed = true;
		notice->fired -= !s->is_for_removal;
	}
	json_decref(reply);
}

static void look(struct memctl *m, struct subscription *s, struct memctl_notice *ret)
{
	eventfd_t count = 0;

	(void)eventfd_read(s->fd, &count);
	*ret = (struct memctl_notice){ .missed = s->missed };
	ret->fired = count > s->ours ? count - s->ours : 0;
	s->ours = s->missed = 0;
	if (ret->fired && !s->is_removed)
		look_for_end(m, s, ret);
	ret->is_removed = s->is_removed;
}

int memctl_notice(struct memctl *m, int fd, struct memctl_notice *ret)
{
	struct subscription *s;

	(void)pthread_mutex_lock(&m->lock);
	s = find(m, fd);
	if (s)
		look(m, s, ret);
	(void)pthread_mutex_unlock(&m->lock);
	return s ? 0 : unknown(fd);
}

static void close_one(struct subscription *s)
{
	(void)close(s->fd);
	free(s->request);
}

/* The daemon may have gone: then there is nothing to end there. */
static void end_there(struct memctl *m, const struct subscription *s)
{
	char text[80];

	if (s->id == NO_ID || m->fd < 0)
		return;
	(void)snprintf(text, sizeof(text), "{\"v\":1,\"op\":\"unsubscribe\",\"id\":%lld}", (long long)s->id);
	if (client_exchange(m, text, -1, NULL) == -EPIPE)
		client_drop(m);
}

int memctl_unsubscribe(struct memctl *m, int fd)
{
	struct subscription *s;

	(void)pthread_mutex_lock(&m->lock);
	s = find(m, fd);
	if (s) {
		end_there(m, s);
		close_one(s);
		*s = m->subscription[--m->subscriptions];
	}
	(void)pthread_mutex_unlock(&m->lock);
	return s ? 0 : unknown(fd);
}

void subscribe_forget(struct memctl *m)
{
	for (size_t i = 0; i < m->subscriptions; i++)
		close_one(&m->subscription[i]);
	free(m->subscription);
}
