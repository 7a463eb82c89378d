/* SPDX-License-Identifier: MIT */
/* One connection to the daemon: a request goes out, its answer comes back.
 *
 * contract      any thread; the mutex makes requests through one struct memctl take turns.
 * failures      Before the request is sent: connect again, once. After it was sent and no answer
 *               came: the connection is dropped, for a late answer would be taken for the next.
 */
#include "memctl/client.h"

#include "memctl/error.h"
#include "memctl/reconnect.h"
#include "memctl/subscribe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_MAGIC 0x6d656d63u
#define PROTOCOL_VERSION 1
#define GREET_TRIES 5

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

void client_drop(struct memctl *m)
{
	if (m->fd >= 0)
		(void)close(m->fd);
	m->fd = -1;
	reconnect_wake(m);
}

static int send_packet(struct memctl *m, const char *text, size_t n, int passed)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
			      .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { .iov_base = (char *)(uintptr_t)text, .iov_len = n };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (passed >= 0) {
		memcpy(CMSG_DATA(&control.header), &passed, sizeof(passed));
		message.msg_control = control.room;
		message.msg_controllen = sizeof(control.room);
	}

	if (n > CLIENT_PACKET_MAX)
		return error_set(-EMSGSIZE, "the request is longer than %d bytes: give fewer keys or values",
				 CLIENT_PACKET_MAX);
	do
		sent = sendmsg(m->fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static int receive_failed(struct memctl *m, ssize_t got)
{
	int err = got < 0 ? -errno : -ECONNRESET;

	client_drop(m);
	if (err == -EAGAIN)
		return error_set(-ETIMEDOUT, "the daemon (pid %d) does not answer; is it stopped?", (int)m->peer);
	if (err == -ECONNRESET)
		return error_set(err, "the daemon (pid %d) ended before it answered; try again", (int)m->peer);
	return error_set(err, "cannot hear the daemon: %s", strerror(-err));
}

static int receive_packet(struct memctl *m, json_t **ret)
{
	json_error_t why;
	ssize_t got;

	do
		got = recv(m->fd, m->packet, CLIENT_PACKET_MAX, MSG_TRUNC);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return receive_failed(m, got);
	*ret = got > CLIENT_PACKET_MAX ? NULL : json_loadb(m->packet, (size_t)got, 0, &why);
	if (json_is_object(*ret))
		return 0;
	json_decref(*ret);
	client_drop(m);
	return error_set(-EPROTO, "the daemon (pid %d) speaks another protocol: %s", (int)m->peer,
			 got > CLIENT_PACKET_MAX ? "its answer is too long" : why.text);
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

int client_exchange(struct memctl *m, const char *text, int passed, json_t **ret_reply)
{
	json_t *reply;
	int err = send_packet(m, text, strlen(text), passed);

	if (err == -EPIPE || err == -ECONNRESET || err == -ENOTCONN)
		return -EPIPE;
	if (err)
		return err == -EMSGSIZE ? err : error_set(err, "cannot reach the daemon: %s", strerror(-err));
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
	client_drop(m);
	return error_set(-EPROTO,
			 "the daemon (pid %d) speaks version %d of the protocol, this memctl %d; "
			 "'memctl daemon stop' and try again",
			 (int)m->peer, (int)v, PROTOCOL_VERSION);
}

/* A connection that was queued for a daemon that has died since is reset: the next meets another
 * one. */
static int greet(struct memctl *m, bool may_start, json_t **ret_hello)
{
	int err = -EPIPE;

	for (int tries = 0; tries < GREET_TRIES && (err == -EPIPE || err == -ECONNRESET); tries++) {
		int fd = !may_start || m->flags & MEMCTL_NO_START ? connect_socket(m->dir) : connect_or_start(m->dir);

		if (fd < 0)
			return fd;
		m->fd = fd;
		m->peer = connect_peer(fd);
		err = client_exchange(m, "{\"v\":1,\"op\":\"hello\"}", -1, ret_hello);
		if (err)
			client_drop(m);
	}
	return err == -EPIPE ? error_set(-ECONNREFUSED, "the daemon (pid %d) turns this user away", (int)m->peer) : err;
}

int client_connect(struct memctl *m, bool may_start)
{
	json_t *hello;
	int err;

	if (m->fd >= 0)
		return 0;
	err = greet(m, may_start, &hello);
	if (err)
		return err;
	err = check_version(m, hello);
	json_decref(hello);
	if (!err)
		err = subscribe_again(m);
	if (!err)
		reconnect_wake(m);
	return err;
}

int client_round_trip(struct memctl *m, const char *text, int passed, json_t **ret_reply)
{
	int err = -EPIPE;

	for (int tries = 0; err == -EPIPE && tries < 2; tries++) {
		int connected = client_connect(m, true);

		if (connected)
			return connected;
		err = client_exchange(m, text, passed, ret_reply);
		if (err == -EPIPE)
			client_drop(m);
	}
	return err == -EPIPE ? error_set(-ECONNRESET, "the daemon ends as soon as it is asked; try again") : err;
}

int client_request(struct memctl *m, json_t *request, json_t **ret_reply)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int err;

	json_decref(request);
	if (!text)
		return error_set(-EINVAL, "what was given is not UTF-8 text");
	(void)pthread_mutex_lock(&m->lock);
	err = client_round_trip(m, text, -1, ret_reply);
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
	m->wake = -1;
	(void)pthread_mutex_init(&m->lock, NULL);
	err = flags & ~MEMCTL_NO_START ? error_set(-EINVAL, "memctl_open: unknown flags 0x%x", flags)
				       : connect_find_dir(dir, m->dir);
	if (!err)
		err = client_connect(m, true);
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
	reconnect_stop(m);
	client_drop(m);
	subscribe_forget(m);
	(void)pthread_mutex_destroy(&m->lock);
	m->magic = 0;
	free(m);
}
