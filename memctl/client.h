/* SPDX-License-Identifier: MIT */
/* One connection to the daemon: a request goes out, its answer comes back. */
#ifndef MEMCTL_CLIENT_H
#define MEMCTL_CLIENT_H

#include "memctl/memctl.h"

#include <jansson.h>

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

#endif
