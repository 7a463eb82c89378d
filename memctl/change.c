/* SPDX-License-Identifier: MIT */
/* What changes groups and who is in them: create, remove, set, reclaim, kill, move. */
#include "memctl/client.h"
#include "memctl/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* {"KEY":"VALUE",...} of "KEY=VALUE" strings. */
static int pack_settings(const char *const *settings, json_t **ret)
{
	json_t *values = json_object();

	for (; values && settings && *settings; settings++) {
		const char *value = strchr(*settings, '=');
		char *key = value ? strndup(*settings, (size_t)(value - *settings)) : NULL;
		int bad = !key || !*key || json_object_set_new(values, key, json_string(value + 1));

		free(key);
		if (bad) {
			json_decref(values);
			return error_set(-EINVAL,
					 "not a setting: '%s'; write KEY=VALUE, such as "
					 "memory.max=64M",
					 *settings);
		}
	}
	*ret = values;
	return values ? 0 : error_set(-ENOMEM, "no memory left");
}

static int change(struct memctl *m, const char *op, const char *group, bool transient, const char *const *settings)
{
	json_t *request = client_new_request(op, group);
	json_t *values;
	int err = pack_settings(settings, &values);

	if (err) {
		json_decref(request);
		return err;
	}
	if (request && json_object_size(values))
		(void)json_object_set(request, "values", values);
	if (request && transient)
		(void)json_object_set_new(request, "transient", json_true());
	json_decref(values);
	return client_request(m, request, NULL);
}

/* Cuts `path` after its component no. `n` (from 1); false when there are no more. */
static bool cut(char *path, const char *whole, unsigned n)
{
	const char *end = whole;

	for (; n && end; n--)
		end = strchr(end + 1, '/');
	if (!end)
		return false;
	memcpy(path, whole, (size_t)(end - whole));
	path[end - whole] = 0;
	return true;
}

/* Takes away again what make_parents made: the last `made` of the components up to `depth`. */
static void remove_parents(struct memctl *m, char *path, const char *whole, unsigned depth, unsigned made)
{
	for (; made && cut(path, whole, depth); made--, depth--)
		(void)client_request(m, client_new_request("remove", path), NULL);
}

static int create_with_parents(struct memctl *m, const char *group, unsigned flags, const char *const *settings)
{
	char *path = malloc(strlen(group) + 1);
	unsigned depth = 0, made = 0;
	int err = path ? 0 : error_set(-ENOMEM, "no memory left");

	while (!err && cut(path, group, depth + 1)) {
		err = change(m, "create", path, false, NULL);
		made += !err;
		if (err == -EEXIST)
			err = 0;
		depth += !err;
	}
	if (!err)
		err = change(m, "create", group, flags & MEMCTL_TRANSIENT, settings);
	if (err && made) {
		char *why = strdup(memctl_error());

		remove_parents(m, path, group, depth, made);
		(void)error_set(err, "%s", why ? why : "no memory left");
		free(why);
	}
	free(path);
	return err;
}

int memctl_create(struct memctl *m, const char *group, unsigned flags, const char *const *settings)
{
	if (flags & ~(MEMCTL_TRANSIENT | MEMCTL_PARENTS))
		return error_set(-EINVAL, "memctl_create: unknown flags 0x%x", flags);
	if (flags & MEMCTL_PARENTS && group[0] == '/')
		return create_with_parents(m, group, flags, settings);
	return change(m, "create", group, flags & MEMCTL_TRANSIENT, settings);
}

int memctl_set(struct memctl *m, const char *group, const char *const *settings)
{
	return change(m, "set", group, false, settings);
}

int memctl_remove(struct memctl *m, const char *group, unsigned flags)
{
	json_t *request = client_new_request("remove", group);

	if (flags & ~MEMCTL_RECURSIVE) {
		json_decref(request);
		return error_set(-EINVAL, "memctl_remove: unknown flags 0x%x", flags);
	}
	if (request && flags)
		(void)json_object_set_new(request, "recursive", json_true());
	return client_request(m, request, NULL);
}

int memctl_kill(struct memctl *m, const char *group, int signal)
{
	json_t *request = client_new_request("kill", group);
	json_t *reply;
	int err, killed;

	if (request)
		(void)json_object_set_new(request, "signal", json_integer(signal));
	err = client_request(m, request, &reply);
	if (err)
		return err;
	killed = (int)json_integer_value(json_object_get(reply, "killed"));
	json_decref(reply);
	return killed;
}

int memctl_reclaim(struct memctl *m, const char *group, const char *size, uint64_t *ret_bytes)
{
	json_t *request = client_new_request("reclaim", group);
	json_t *reply;
	int err;

	if (request)
		(void)json_object_set_new(request, "size", json_string(size));
	err = client_request(m, request, &reply);
	if (err)
		return err;
	if (ret_bytes)
		*ret_bytes = (uint64_t)json_integer_value(json_object_get(reply, "reclaimed"));
	json_decref(reply);
	return 0;
}

int memctl_move(struct memctl *m, pid_t pid, const char *group, const char *charges)
{
	json_t *request = client_new_request("move", group);

	if (request)
		(void)json_object_set_new(request, "pid", json_integer(pid));
	if (request && charges)
		(void)json_object_set_new(request, "charges", json_string(charges));
	return client_request(m, request, NULL);
}
