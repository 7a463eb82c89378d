/* SPDX-License-Identifier: MIT */
/* One connection to the daemon: a request goes out, its answer comes back.
 *
 * contract      any thread; the mutex makes requests through one struct memctl take turns.
 * failures      Before the request is sent: connect again, once. After it was sent and no answer
 *               came: the connection is dropped, for a late answer would be taken for the next.
 */
#include "memctl/client.h"

#include "memctl/connect.h"
#include "memctl/error.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_MAGIC     0x6d656d63u
#define PACKET_MAX       65536
#define PROTOCOL_VERSION 1
#define GREET_TRIES      5

struct memctl {
	unsigned magic;
	unsigned flags; /* MEMCTL_NO_START */
	char dir[CONNECT_DIR_MAX];
	pthread_mutex_t lock; /* guards what follows */
	int fd;               /* -1: none now */
	pid_t peer;
	char packet[PACKET_MAX + 1]; /* the last answer */
};

const char *memctl_version(void)
{
	return PACKAGE_VERSION;
}

const char *memctl_dir(const struct memctl *m)
{
	return m->dir;
}

json_t *client_new_request(const char *op, const char *group)
{
	json_t *request = json_pack("{si ss}", "v", PROTOCOL_VERSION, "op", op);

	if (request && group && json_object_set_new(request, "group", json_string(group))) {
		json_decref(request); /* not UTF-8 */
		request = NULL;
	}
	return request;
}

static void drop(struct memctl *m)
{
	if (m->fd >= 0)
		(void)close(m->fd);
	m->fd = -1;
}

static int send_packet(struct memctl *m, const char *text, size_t n)
{
	ssize_t sent;

	if (n > PACKET_MAX)
		return error_set(-EMSGSIZE,
				 "the request is longer than %d bytes: give fewer keys or values",
				 PACKET_MAX);
	do
		sent = send(m->fd, text, n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static int receive_failed(struct memctl *m, ssize_t got)
{
	int err = got < 0 ? -errno : -ECONNRESET;

	drop(m);
	if (err == -EAGAIN)
		return error_set(-ETIMEDOUT, "the daemon (pid %d) does not answer; is it stopped?",
				 (int)m->peer);
	if (err == -ECONNRESET)
		return error_set(err, "the daemon (pid %d) ended before it answered; try again",
				 (int)m->peer);
	return error_set(err, "cannot hear the daemon: %s", strerror(-err));
}

static int receive_packet(struct memctl *m, json_t **ret)
{
	json_error_t why;
	ssize_t got;

	do
		got = recv(m->fd, m->packet, PACKET_MAX, MSG_TRUNC);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return receive_failed(m, got);
	*ret = got > PACKET_MAX ? NULL : json_loadb(m->packet, (size_t)got, 0, &why);
	if (json_is_object(*ret))
		return 0;
	json_decref(*ret);
	drop(m);
	return error_set(-EPROTO, "the daemon (pid %d) speaks another protocol: %s", (int)m->peer,
			 got > PACKET_MAX ? "its answer is too long" : why.text);
}

/* The daemon's own sentence, where it said no. */
static int judge(json_t *reply)
{
	const char *name = json_string_value(json_object_get(reply, "errno"));
	const char *words = json_string_value(json_object_get(reply, "error"));
	int err;

	if (json_is_true(json_object_get(reply, "ok")))
		return 0;
	err = -error_number(name ? name : "");
	return error_set(err, "%s", words ? words : strerror(-err));
}

/* One round on an open connection. -EPIPE: nothing was sent. */
static int exchange(struct memctl *m, const char *text, json_t **ret_reply)
{
	json_t *reply;
	int err = send_packet(m, text, strlen(text));

	if (err == -EPIPE || err == -ECONNRESET || err == -ENOTCONN)
		return -EPIPE;
	if (err)
		return err == -EMSGSIZE
			       ? err
			       : error_set(err, "cannot reach the daemon: %s", strerror(-err));
	err = receive_packet(m, &reply);
	if (err)
		return err;
	err = judge(reply);
	if (err || !ret_reply)
		json_decref(reply);
	else
		*ret_reply = reply;
	return err;
}

static int check_version(struct memctl *m, json_t *hello)
{
	json_int_t v = json_integer_value(json_object_get(hello, "v"));

	if (v == PROTOCOL_VERSION)
		return 0;
	drop(m);
	return error_set(-EPROTO,
			 "the daemon (pid %d) speaks version %d of the protocol, this memctl %d; "
			 "'memctl daemon stop' and try again",
			 (int)m->peer, (int)v, PROTOCOL_VERSION);
}

/* A connection that was queued for a daemon that has died since is reset: the next meets another
 * one. */
static int greet(struct memctl *m, json_t **ret_hello)
{
	int err = -EPIPE;

	for (int tries = 0; tries < GREET_TRIES && (err == -EPIPE || err == -ECONNRESET); tries++) {
		int fd = m->flags & MEMCTL_NO_START ? connect_socket(m->dir)
						    : connect_or_start(m->dir);

		if (fd < 0)
			return fd;
		m->fd = fd;
		m->peer = connect_peer(fd);
		err = exchange(m, "{\"v\":1,\"op\":\"hello\"}", ret_hello);
		if (err)
			drop(m);
	}
	return err == -EPIPE ? error_set(-ECONNREFUSED, "the daemon (pid %d) turns this user away",
					 (int)m->peer)
			     : err;
}

static int connect_now(struct memctl *m)
{
	json_t *hello;
	int err = greet(m, &hello);

	if (err)
		return err;
	err = check_version(m, hello);
	json_decref(hello);
	return err;
}

static int round_trip(struct memctl *m, const char *text, json_t **ret_reply)
{
	int err = -EPIPE;

	for (int tries = 0; err == -EPIPE && tries < 2; tries++) {
		int connected = m->fd >= 0 ? 0 : connect_now(m);

		if (connected)
			return connected;
		err = exchange(m, text, ret_reply);
		if (err == -EPIPE)
			drop(m);
	}
	return err == -EPIPE
		       ? error_set(-ECONNRESET, "the daemon ends as soon as it is asked; try again")
		       : err;
}

int client_request(struct memctl *m, json_t *request, json_t **ret_reply)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int err;

	json_decref(request);
	if (!text)
		return error_set(-EINVAL, "what was given is not UTF-8 text");
	(void)pthread_mutex_lock(&m->lock);
	err = round_trip(m, text, ret_reply);
	(void)pthread_mutex_unlock(&m->lock);
	free(text);
	return err;
}

int client_pages(struct memctl *m, json_t *request, client_page_fn *fn, void *arg)
{
	bool more = request != NULL;
	int err = more ? 0 : error_set(-EINVAL, "what was given is not UTF-8 text");

	while (!err && more) {
		json_t *reply;

		err = client_request(m, json_incref(request), &reply);
		if (err)
			break;
		more = json_is_true(json_object_get(reply, "more"));
		if (more)
			(void)json_object_set(request, "cursor", json_object_get(reply, "cursor"));
		err = fn(reply, arg);
		json_decref(reply);
	}
	json_decref(request);
	return err;
}

int memctl_request(struct memctl *m, const char *request, char **ret_reply)
{
	json_error_t why;
	json_t *parsed = json_loads(request, 0, &why);
	json_t *reply;
	char *text;
	int err;

	if (!parsed)
		return error_set(-EINVAL, "the request is not JSON: %s", why.text);
	err = client_request(m, parsed, &reply);
	if (err)
		return err;
	text = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	if (!text)
		return error_set(-ENOMEM, "no memory left");
	*ret_reply = text;
	return 0;
}

pid_t memctl_daemon_pid(struct memctl *m)
{
	pid_t pid;

	(void)pthread_mutex_lock(&m->lock);
	pid = m->peer;
	(void)pthread_mutex_unlock(&m->lock);
	return pid;
}

int memctl_open(const char *dir, unsigned flags, struct memctl **ret)
{
	struct memctl *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return error_set(-ENOMEM, "no memory left");
	m->magic = CLIENT_MAGIC;
	m->flags = flags;
	m->fd = -1;
	(void)pthread_mutex_init(&m->lock, NULL);
	err = flags & ~MEMCTL_NO_START
		      ? error_set(-EINVAL, "memctl_open: unknown flags 0x%x", flags)
		      : connect_find_dir(dir, m->dir);
	if (!err)
		err = connect_now(m);
	if (err)
		memctl_close(m);
	else
		*ret = m;
	return err;
}

void memctl_close(struct memctl *m)
{
	if (!m)
		return;
	drop(m);
	(void)pthread_mutex_destroy(&m->lock);
	m->magic = 0;
	free(m);
}
