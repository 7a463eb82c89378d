/* SPDX-License-Identifier: MIT */
/* One connection to the daemon: a request goes out, its answer comes back. */
#ifndef MEMCTL_CLIENT_H
#define MEMCTL_CLIENT_H

#include "memctl/connect.h"
#include "memctl/memctl.h"

#include <jansson.h>
#include <pthread.h>

#define CLIENT_PACKET_MAX 65536

struct subscription;

/* The lock guards what follows it. */
struct memctl {
	unsigned magic;
	unsigned flags; /* MEMCTL_NO_START */
	char dir[CONNECT_DIR_MAX];
	pthread_mutex_t lock;
	int fd; /* -1: none now */
	pid_t peer;
	struct subscription *subscription; /* subscribe.c's */
	size_t subscriptions, subscriptions_room;
	pthread_t reviver; /* reconnect.c's thread */
	bool has_reviver, reviver_shall_end;
	int wake;			    /* its eventfd; -1: none */
	char packet[CLIENT_PACKET_MAX + 1]; /* the last answer */
};

/* Sends the request (its reference is taken, also on failure; NULL is -ENOMEM) and waits for the
 * answer. A daemon that has gone is started again before anything was sent. *ret_reply (may be
 * NULL) is the caller's. Everything as in memctl.h: negative errno, sentence kept. */
int client_request(struct memctl *m, json_t *request, json_t **ret_reply);

/* What client_pages calls for each page; other than 0 ends the walk. */
typedef int client_page_fn(json_t *reply, void *arg);

/* As client_request, page by page until there is no more. */
int client_pages(struct memctl *m, json_t *request, client_page_fn *fn, void *arg);

/* A request of this op, with the group unless it is NULL. */
json_t *client_new_request(const char *op, const char *group);

/* ---- with the lock held ------------------------------------------------------------------ */

/* Connects when no connection is open, and makes the subscriptions anew; a daemon is started when `may_start` and the
 * flags allow it. */
int client_connect(struct memctl *m, bool may_start);

/* One round on the open connection, with a descriptor that goes along (-1: none). -EPIPE: nothing was sent. When the
 * connection is lost m->fd is -1 then. */
int client_exchange(struct memctl *m, const char *text, int passed, json_t **ret_reply);

/* The same after connecting, if need be. */
int client_round_trip(struct memctl *m, const char *text, int passed, json_t **ret_reply);

void client_drop(struct memctl *m);

#endif
